"""`mlpipe.load_model`: a published model classifies rows as its run did."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.ipc
import pyarrow.parquet
import pytest
from e2e.project import Finished

import mlpipe
from mlpipe.errors import DataError, IntegrityError, StorageError, UsageError


@pytest.fixture
def tree(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished experiment, for tests that change it."""
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "functions", raising=False)  # that of another test
    return Path(shutil.copytree(finished[0].tree, tmp_path / "storage" / "tiny"))


def model_of(tree: Path, name: str = "small") -> Path:
    return tree / "runs" / "1" / "models" / name


def test_rows_and_texts_get_the_labels_that_the_run_gave_them(tree: Path):
    (shard,) = tree.glob("data/prepared/*/test/*.arrow")
    rows = pyarrow.ipc.open_stream(shard).read_all().to_pylist()
    published = pyarrow.parquet.read_table(tree / "runs" / "1" / "inference" / "small" / "predictions.parquet")
    expected = {row["id"]: row for row in published.to_pylist()}
    predictor = mlpipe.load_model(model_of(tree))
    assert repr(predictor) == "Predictor(run_num=1, model_name='small', labels=('fruit', 'metal', 'river'))"
    found = predictor.predict([{"text": row["text"]} for row in rows])
    for (label, probability), row in zip(found, rows, strict=True):
        assert label == expected[row["id"]]["prediction"]
        assert probability == pytest.approx(expected[row["id"]][f"probability_{label}"], abs=1e-6)
    assert predictor.predict([row["text"] for row in rows]) == found
    assert predictor.predict([]) == []


def test_threads_share_a_predictor(tree: Path):
    predictor = mlpipe.load_model(str(model_of(tree)))
    texts = ["apple banana", "iron zinc tin", "rhine", "oder weser danube"]
    alone = predictor.predict(texts)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: predictor.predict(texts), range(40))) == [alone] * 40


@pytest.mark.parametrize("name", ["models/small/model.pt", "models/small/id2label.json", "user_functions/functions.py"])
def test_nothing_is_loaded_that_the_run_does_not_vouch_for(tree: Path, name: str):
    path = tree / "runs" / "1" / name
    path.write_bytes(path.read_bytes() + b"#")
    with pytest.raises(IntegrityError, match=f"{path.name} has changed since it was committed"):
        mlpipe.load_model(model_of(tree))


def test_a_run_that_is_not_committed_has_no_model_to_load(tree: Path):
    (tree / "runs" / "1" / "_SUCCESS").unlink()
    with pytest.raises(StorageError, match="run 1 at .* is not committed"):
        mlpipe.load_model(model_of(tree))


def test_rows_that_cannot_be_encoded_are_named(tree: Path):
    predictor = mlpipe.load_model(model_of(tree))
    with pytest.raises(DataError, match="row 1 has the columns body, but the first row has text"):
        predictor.predict([{"text": "apple"}, {"body": "iron"}])


def test_what_is_no_list_of_rows_is_refused(tree: Path):
    predictor = mlpipe.load_model(model_of(tree))
    for one in ("apple", {"text": "apple"}):
        with pytest.raises(DataError, match=r"was given one row\n  write predict\(\[row\]\)"):
            predictor.predict(one)
    with pytest.raises(DataError, match="row 1 is a int"):
        predictor.predict(["apple", 3])


def test_a_path_that_is_no_model_is_answered_with_what_one_looks_like(tree: Path):
    with pytest.raises(UsageError, match="is no published model"):
        mlpipe.load_model(tree / "runs" / "1")


def test_two_models_whose_functions_have_one_name_do_not_mix(tree: Path):
    loaded = [mlpipe.load_model(model_of(tree, name)) for name in ("small", "large")]  # the same code
    assert len({predictor.functions.code for predictor in loaded}) == 2
    Path(sys.modules["functions"].__file__ or "").write_text("# another run's")
    with pytest.raises(UsageError, match="has imported another package functions"):
        mlpipe.load_model(model_of(tree))
    del sys.modules["functions"]


def test_a_path_may_begin_at_the_current_folder(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tree.parent)
    assert mlpipe.load_model("tiny/runs/1/models/small").run_num == 1
