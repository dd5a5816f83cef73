"""The functions of the demo, and those of the example for a CSV file."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mlpipe.settings import load_settings
from mlpipe.user_functions import UserFunctions, read_user_source
from user_functions import pretrained
from user_functions.convnet import ConvNet

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "settings.ini.example"
CSV = ROOT / "examples" / "csv" / "settings.ini"


def convnet(width: int) -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(vocabulary=50, num_labels=3, embedding_size=8, channels=16, width=width, dropout=0.5).eval()


def test_the_standard_library_has_labels_with_enough_distinct_docstrings():
    settings = load_settings(DEMO, environment={}).for_data_functions()
    rows = list(UserFunctions.load(ROOT, "user_functions").reconcile(settings))

    assert len({(row["text"], row["label"]) for row in rows}) == len(rows)
    per_label = Counter(row["label"] for row in rows)
    assert len(per_label) >= 2
    assert min(per_label.values()) >= 100
    assert min(len(row["text"].split()) for row in rows) == 5
    assert all(row["source"].startswith((f"{row['label']}/", f"{row['label']}.py")) for row in rows)


def test_the_demo_cuts_texts_and_does_not_pad_them():
    settings = load_settings(DEMO, ["user.MAX_TOKENS=4"], environment={}).for_data_functions()
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "sorts": 1, "a": 2, "list": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    processor = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")

    functions = UserFunctions.load(ROOT, "user_functions")
    encoded = functions.encode({"text": ["sorts a list a list", "a"]}, processor, "minilm", settings, ids=["1", "2"])
    assert encoded == {"input_ids": [[1, 2, 3, 2], [2]], "attention_mask": [[1, 1, 1, 1], [1]]}


def test_a_model_that_the_demo_does_not_know_is_named(tmp_path: Path):
    from user_functions.load_model import load_model

    with pytest.raises(ValueError, match="MODEL_NAMES has 'gpt'; these functions know minilm and convnet"):
        load_model("gpt", {0: "a", 1: "b"}, None)


@pytest.mark.parametrize("width", [1, 3, 5])
def test_the_logits_of_the_convnet_do_not_depend_on_padding(width: int):
    tokens = torch.tensor([[7, 8, 9, 10]])
    padded = torch.tensor([[7, 8, 9, 10, 41, 42, 43]])  # what stands under a mask of 0 must not matter
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0]])
    with torch.inference_mode():
        alone = convnet(width)(tokens, torch.ones_like(tokens))
        torch.testing.assert_close(convnet(width)(padded, mask), alone)
        assert not torch.allclose(convnet(width)(padded, torch.ones_like(padded)), alone)


def encoder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the encoder, with the sums of its own files as the published ones."""
    folder.mkdir(parents=True)
    for name in pretrained.FILES:
        (folder / name).write_text(f"the content of {name}")
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in pretrained.SHA256}
    monkeypatch.setattr(pretrained, "SHA256", sums)
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_an_altered_encoder_is_refused_and_its_file_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = encoder(tmp_path / "encoder", monkeypatch)
    assert pretrained.verified(folder) == folder

    (folder / name).write_text("altered")
    with pytest.raises(RuntimeError, match=f"{name} is not the published file: its sha256 is [0-9a-f]{{64}}, expected"):
        pretrained.verified(folder)


def test_the_encoder_of_an_installed_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = encoder(tmp_path / "encoder_package" / "model", monkeypatch)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pretrained, "PACKAGE", "encoder_package")
    monkeypatch.setattr(pretrained, "cached", lambda: None)
    assert pretrained.encoder_folder() == folder


def test_the_example_for_a_csv_file_reads_encodes_and_classifies():
    settings = load_settings(CSV, environment={})
    read_user_source(CSV.parent / settings.experiment.user_functions)
    functions = UserFunctions.load(CSV.parent, "functions")
    model_settings = settings.for_model_functions("words")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(CSV.parent)  # jobs run in the folder of the settings file
        rows = list(functions.reconcile(settings.for_data_functions()))
    labels = sorted({row["label"] for row in rows})
    assert min(Counter(row["label"] for row in rows).values()) >= 10

    texts = {"text": ["!!!", rows[0]["text"]]}
    encoded = functions.encode(texts, None, "words", model_settings, ids=list(map(str, range(9))))
    assert [len(row) for row in encoded["input_ids"]] == [1, len(rows[0]["text"].split())]

    model = functions.load_model("words", dict(enumerate(labels)), model_settings)
    assert list(functions.ordered_input_keys("words", model_settings)) == list(encoded)
    assert model(torch.tensor([encoded["input_ids"][1]])).shape == (1, len(labels))
