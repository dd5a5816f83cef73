from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_from_disk

from mlpipe.jobs import infer
from mlpipe.jobs.environment import JobContext
from mlpipe.manifest import MANIFEST, check_folder, parse_manifest
from mlpipe.settings import load_settings

LENGTHS = [5, 1, 9, 3, 3, 12, 2, 9]
SETTINGS = """
[EXPERIMENT]
EXPERIMENT_NAME = test
MODEL_NAMES = first, second
SEED = 11
[INFERENCE]
TOKEN_BUDGET = 20
BOOTSTRAP_RESAMPLES = 150
"""


@pytest.fixture
def infer_job(tmp_path, snapshot, token_rows):
    """Runs an infer job over eight test rows and the models below `models`; returns its output."""
    data = snapshot(token_rows(LENGTHS), model_names=("first", "second"))
    (tmp_path / "encoding").mkdir()
    (tmp_path / "encoding" / "encoding.json").write_text(json.dumps(data.encoding.to_json()))
    (tmp_path / "settings.ini").write_text(SETTINGS)
    threads = torch.get_num_threads()

    def run(models: Path, name: str = "output", model_names=("first", "second")) -> Path:
        output = tmp_path / name
        output.mkdir(exist_ok=True)
        infer.run(
            JobContext(
                step="infer",
                settings=load_settings(tmp_path / "settings.ini", environment={}),
                code=tmp_path / "code",
                package="user_functions",
                channels={"test": data.folder, "encoding": tmp_path / "encoding", "models": models},
                channels_sha256="",
                output=output,
                checkpoints=tmp_path / "checkpoints",
                output_data=tmp_path / "output_data",
                model_name=None,
                arguments={"model_names": list(model_names)},
                threads=1,
            )
        )
        return output

    yield run
    torch.set_num_threads(threads)


@pytest.fixture
def models(tmp_path, export, mean_of_tokens) -> Path:
    for seed, name in enumerate(("first", "second")):
        export(mean_of_tokens(seed), tmp_path / "models" / name)
    return tmp_path / "models"


def outcomes(output: Path) -> dict[str, dict[str, str]]:
    return {entry.pop("model_name"): entry for entry in json.loads((output / "outcomes.json").read_bytes())}


def test_every_model_gets_results_on_the_same_rows(tmp_path, infer_job, models):
    output = infer_job(models)

    assert outcomes(output) == {name: {"error": "", "error_class": ""} for name in ("first", "second")}
    ids = [f"row-{i}" for i in range(len(LENGTHS))]
    tables = [pq.read_table(output / name / "predictions.parquet") for name in ("first", "second")]
    assert [table["id"].to_pylist() for table in tables] == [ids, ids]
    assert tables[0]["truth"] == tables[1]["truth"]
    assert tables[0]["probability_animal"] != tables[1]["probability_animal"]
    statistics = json.loads((output / "first" / "statistics.json").read_bytes())
    assert (statistics["num_rows"], statistics["resamples"], statistics["seed"]) == (8, 150, 11)
    assert json.loads((output / "first" / "timing.json").read_bytes())["threads"] == 1


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is:DeprecationWarning")
def test_torch_and_the_files_alone_reproduce_the_probabilities(tmp_path, infer_job, models):
    table = pq.read_table(infer_job(models) / "second" / "predictions.parquet")
    # Not through mlpipe: this is what somebody does who has only the folder.
    model = torch.jit.load(str(models / "second" / "model.pt"))
    for i, row in enumerate(load_from_disk(str(tmp_path / "test"))):
        inputs = (row["second_input_ids"], row["second_attention_mask"])
        with torch.inference_mode():
            expected = model(*(torch.tensor([values]) for values in inputs)).softmax(dim=1)[0]
        found = [table[f"probability_{label}"][i].as_py() for label in ("animal", "mineral", "plant")]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_each_model_has_a_manifest_of_its_own(infer_job, models):
    output = infer_job(models)

    for name in ("first", "second"):
        files = parse_manifest((output / name / MANIFEST).read_bytes(), name)
        assert {"statistics.json", "timing.json", "predictions.parquet", "plots/confusion_matrix.svg"} <= set(files)
        check_folder(output / name, files, name)


def test_inferring_again_gives_the_same_bytes_times_excepted(infer_job, models):
    first = infer_job(models)
    # Alone, too: what else is inferred must not matter.
    again = infer_job(models, "again", model_names=("second",))

    for file in ("statistics.json", "predictions.parquet", "plots/confusion_matrix.png", "plots/confusion_matrix.svg"):
        assert (first / "second" / file).read_bytes() == (again / "second" / file).read_bytes()


def test_a_model_that_fails_is_named_and_leaves_the_others(infer_job, models):
    (models / "first" / "model.pt").write_bytes(b"not a model")

    output = infer_job(models)

    found = outcomes(output)
    assert found["first"]["error_class"] == "JobError"
    assert "model.pt of first cannot be loaded" in found["first"]["error"]
    assert found["second"] == {"error": "", "error_class": ""}
    assert not (output / "first").exists()
    assert (output / "second" / "statistics.json").is_file()


def test_a_model_whose_results_cannot_all_be_written_leaves_none(tmp_path, infer_job, models):
    (tmp_path / "output" / "first").mkdir(parents=True)
    (tmp_path / "output" / "first" / "plots").write_text("in the way of a folder")

    output = infer_job(models)

    assert outcomes(output)["first"]["error"].startswith("FileExistsError")
    assert not (output / "first").exists()
    assert (output / "second" / MANIFEST).is_file()


def test_when_every_model_fails_the_outcomes_say_why(infer_job, models):
    for name in ("first", "second"):
        (models / name / "signature.json").unlink()

    output = infer_job(models)

    assert {name: entry["error_class"] for name, entry in outcomes(output).items()} == {
        "first": "JobError",
        "second": "JobError",
    }
    assert "signature.json" in outcomes(output)["second"]["error"]
    assert [path.name for path in output.iterdir()] == ["outcomes.json"]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (("animal", "plant", "mineral"), "they are in another order"),
        (("animal", "mineral", "fungus"), "they differ in fungus, plant"),
    ],
)
def test_a_model_of_other_labels_is_refused(tmp_path, infer_job, export, mean_of_tokens, labels, reason):
    export(mean_of_tokens(), tmp_path / "models" / "first", labels=labels)

    found = outcomes(infer_job(tmp_path / "models", model_names=("first",)))

    assert found["first"]["error_class"] == "DataError"
    assert found["first"]["error"].startswith(f"first was trained on other labels than the test rows have: {reason}")
