"""Exports equal the model at every shape that they are published for, or are not published."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mlpipe.batching import EncodedRows
from mlpipe.errors import ExportError, UserFunctionError
from mlpipe.specs import EncodedInput, Signature
from mlpipe.training.classifier import Classifier, load_classifier, read_inputs
from mlpipe.training.export import export_model
from mlpipe.training.job import TrainingJob
from mlpipe.training.loop import train_model

# TorchScript is deprecated in favour of torch.export; model.pt is the contract all the same.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")

EMBEDDING = """
class Model(nn.Module):
    def __init__(self, labels=3):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.output = nn.Linear(8, labels)
        {made}

    def forward(self, input_ids, attention_mask):
        embedded = self.embedding(input_ids)
        mask = attention_mask.unsqueeze(-1).float()
        mean = (embedded * mask).sum(1) / mask.sum(1)
        {body}
"""

BERT = """
from transformers import BertConfig, BertForSequenceClassification

def bert(labels):
    return BertForSequenceClassification(BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, num_labels=labels, initializer_range=0.5,
    ))
"""

UNSEEN_SHAPES = ((3, 7), (4, 2), (1, 11), (9, 5), (2, 12))


def model_with(body: str, made: str = "") -> dict[str, str]:
    lines = textwrap.indent(textwrap.dedent(body).strip(), " " * 8).strip()
    return {"model": EMBEDDING.format(body=lines, made=made), "load_model": "Model(len(id2label))"}


def export(job: TrainingJob) -> tuple[Classifier, Signature, dict[str, Any]]:
    """Export a model as load_model makes it; returns it with signature.json and parity.json."""
    torch.manual_seed(3)
    inputs = read_inputs(job)
    classifier = load_classifier(job, inputs)
    export_model(job, classifier, inputs, EncodedRows.open(job.validation, job.encoding, "model"))
    signature = json.loads((job.output / "signature.json").read_bytes())
    return classifier, Signature.from_json(signature), json.loads((job.output / "parity.json").read_bytes())


def random_inputs(size: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = (torch.arange(length) < torch.randint(1, length + 1, (size, 1))).long()
    return torch.randint(1, 20, (size, length)) * mask, mask


def assert_equal_at(path: Path, classifier: Classifier, *shapes: tuple[int, int]) -> None:
    exported = torch.export.load(path).module() if path.suffix == ".pt2" else torch.jit.load(path)
    for shape in shapes:
        inputs = random_inputs(*shape)
        with torch.no_grad():
            torch.testing.assert_close(exported(*inputs), classifier(*inputs), atol=1e-4, rtol=0)


def assert_needs_torch_alone(path: Path) -> None:
    script = (
        "import sys, torch\n"
        f"logits = torch.jit.load({str(path)!r})(torch.ones(2, 3).long(), torch.ones(2, 3).long())\n"
        "print(tuple(logits.shape), {'transformers', 'mlpipe', 'user_functions'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "(2, 3) set()\n"


def assert_holds_no_path(path: Path, code: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert str(code).encode() not in content
    assert torch.__file__.removesuffix("__init__.py").encode() not in content


def test_a_transformers_model_is_exported_for_any_shape(make_job) -> None:
    job = make_job(BERT, load_model="bert(len(id2label))")
    classifier, signature, parity = export(job)
    assert signature.shapes.batch_dynamic
    assert signature.shapes.seq_dynamic
    assert signature.shapes.batch_invariant
    assert (signature.shapes.min_length, signature.shapes.max_length) == (2, 12)
    assert parity["is_equal"]
    assert parity["max_difference"] <= parity["tolerance"]
    assert {case["format"] for case in parity["cases"]} == {"torchscript", "torch_export"}
    for file in ("model.pt", "model.pt2"):
        assert_equal_at(job.output / file, classifier, *UNSEEN_SHAPES)
    assert_needs_torch_alone(job.output / "model.pt")
    assert_holds_no_path(job.output / "model.pt", job.functions.code)
    assert_holds_no_path(job.output / "model.pt2", job.functions.code)


def test_a_plain_module_is_exported_with_everything_that_inference_needs(make_job) -> None:
    job = make_job(**model_with("return self.output(mean)"), keys='{"input_ids": 0, "attention_mask": 0}')
    (job.encoding_folder / "processors" / "model").mkdir(parents=True)
    (job.encoding_folder / "processors" / "model" / "vocabulary.txt").write_text("words")
    classifier, signature, parity = export(job)
    assert [(entry.name, entry.padding_value) for entry in signature.inputs] == [
        ("input_ids", 0),
        ("attention_mask", 0),
    ]
    assert signature.num_labels == 3
    assert parity["rejected_plans"] == {}
    assert json.loads((job.output / "id2label.json").read_bytes()) == {"0": "animal", "1": "mineral", "2": "plant"}
    assert (job.output / "processor" / "vocabulary.txt").read_text() == "words"
    saved = load_file(job.output / "state_dict.safetensors")
    torch.testing.assert_close(saved, dict(classifier.module.state_dict()), atol=0, rtol=0)


def test_tied_weights_are_saved_under_both_names(make_job) -> None:
    made = "self.tied = nn.Linear(8, 20, bias=False); self.tied.weight = self.embedding.weight"
    job = make_job(**model_with("return self.output(mean) + self.tied(mean)[:, :3]", made))
    classifier, _, _ = export(job)
    saved = load_file(job.output / "state_dict.safetensors")
    assert torch.equal(saved["tied.weight"], saved["embedding.weight"])
    assert_equal_at(job.output / "model.pt", classifier, (3, 7))


def test_a_branch_on_values_is_refused_with_where_and_how_far_off(make_job) -> None:
    body = """
        if input_ids.float().mean() > 5:
            mean = -mean
        return self.output(mean)"""
    job = make_job(**model_with(body))
    with pytest.raises(ExportError, match="no TorchScript export of model equals the model") as caught:
        export(job)
    for plan in ("any batch, any length", "any batch, longest length", "one row, longest length"):
        assert f"{plan}: " in caught.value.message
    assert "cases are wrong, such as" in caught.value.message
    assert "input_ids (1, " in caught.value.message
    assert "logits differ by up to " in caught.value.message
    assert not (job.output / "model.pt").exists()


def test_a_loop_over_the_sequence_is_published_for_the_longest_length_alone(make_job) -> None:
    body = """
        state = embedded[:, 0] * 0
        for at in range(input_ids.shape[1]):
            step = attention_mask[:, at : at + 1]
            state = step * self.cell(embedded[:, at], state) + (1 - step) * state
        return self.output(state)"""
    job = make_job(**model_with(body, "self.cell = nn.GRUCell(8, 8)"))
    classifier, signature, parity = export(job)
    assert signature.shapes.batch_dynamic
    assert not signature.shapes.seq_dynamic
    assert signature.shapes.max_length == 12
    assert list(parity["rejected_plans"]) == ["any batch, any length"]
    assert {case["shapes"]["input_ids"][1] for case in parity["cases"]} == {12}
    assert_equal_at(job.output / "model.pt", classifier, (1, 12), (7, 12))


def test_a_shape_computed_in_python_is_published_for_the_longest_length_alone(make_job) -> None:
    # Padding to a multiple of a window, as sparse attention does: the traced file holds the traced number of windows.
    body = """
        size = int(input_ids.shape[1])
        windows = -(-size // 4)
        padded = torch.cat([embedded * mask, torch.zeros(len(input_ids), windows * 4 - size, 8)], dim=1)
        return self.output(padded.view(len(input_ids), windows, 4, 8).sum(2).amax(1))"""
    _, signature, parity = export(make_job(**model_with(body)))
    assert not signature.shapes.seq_dynamic
    assert "any batch, any length" in parity["rejected_plans"]


def test_a_loop_over_the_batch_is_published_for_one_row_at_a_time(make_job) -> None:
    body = """
        return torch.stack([self.output(mean[at]) for at in range(len(input_ids))])"""
    job = make_job(**model_with(body))
    classifier, signature, _ = export(job)
    assert not signature.shapes.batch_dynamic
    assert signature.shapes.batch_size == 1
    assert_equal_at(job.output / "model.pt", classifier, (1, 12))


def test_state_that_a_state_dict_does_not_hold_is_found_missing(make_job) -> None:
    job = make_job(**model_with("return self.output(mean) + self.offset", "self.offset = torch.randn(3)"))
    with pytest.raises(ExportError, match="logits differ by up to"):
        export(job)


def test_a_model_that_looks_at_its_neighbours_is_marked(make_job) -> None:
    _, signature, _ = export(make_job(**model_with("return self.output(embedded.mean(1))")))
    assert signature.shapes.seq_dynamic
    assert not signature.shapes.batch_invariant


def test_a_model_that_torch_export_cannot_take_has_no_pt2_and_a_reason(make_job) -> None:
    body = """
        lengths = attention_mask.sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        return self.output(self.lstm(packed)[1][0][0])"""
    job = make_job(**model_with(body, "self.lstm = nn.LSTM(8, 8, batch_first=True)"))
    classifier, signature, parity = export(job)
    assert signature.shapes.seq_dynamic
    assert parity["formats"]["torchscript"] == {"file": "model.pt", "reason": ""}
    assert parity["formats"]["torch_export"]["file"] is None
    assert parity["formats"]["torch_export"]["reason"].startswith("it cannot be exported: ")
    assert not (job.output / "model.pt2").exists()
    assert_equal_at(job.output / "model.pt", classifier, *UNSEEN_SHAPES)


def test_inputs_of_fixed_shape_have_no_lengths(make_job) -> None:
    generator = np.random.default_rng(0)
    rows = [{"id": str(n), "label": n % 3, "pixels": generator.random((3, 4, 4)).tolist()} for n in range(20)]
    job = make_job(
        """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(36, 3))

            def forward(self, pixels):
                return self.layers(pixels)
        """,
        load_model="Model()",
        keys='["pixels"]',
        train=rows,
        validation=rows,
        inputs={"pixels": EncodedInput("float32", False, (3, 4, 4), None, None)},
    )
    _, signature, parity = export(job)
    assert (signature.shapes.min_length, signature.shapes.max_length) == (None, None)
    assert signature.shapes.batch_dynamic
    assert signature.shapes.batch_invariant
    assert parity["formats"]["torch_export"]["file"] == "model.pt2"


def test_a_model_that_fails_on_a_short_row_alone_is_reported_as_the_users(make_job) -> None:
    body = """
        return self.output(self.convolution(embedded.transpose(1, 2)).amax(2))"""
    job = make_job(**model_with(body, "self.convolution = nn.Conv1d(8, 8, 3)"))
    with pytest.raises(UserFunctionError, match=r"forward\(\) of the model .* failed at") as caught:
        export(job)
    assert "input_ids (1, 2)" in caught.value.hint


def test_a_load_model_that_makes_another_model_each_time_is_reported(make_job) -> None:
    model = "import itertools\nsizes = itertools.count(4)\ndef made(): return nn.Linear(next(sizes), 3)\n"
    with pytest.raises(UserFunctionError, match=r"load_model\(\) made another model when it was called again"):
        export(make_job(model, load_model="made()"))


def test_tracing_says_nothing_on_the_console(make_job, capfd, recwarn, caplog) -> None:
    body = """
        if input_ids.shape[1] > 100:
            mean = mean * 2
        return self.output(mean) if bool((mean == mean).all()) else None"""
    with caplog.at_level("DEBUG", logger="mlpipe.training.formats"):
        export(make_job(**model_with(body)))
    assert any("TracerWarning" in message for message in caplog.messages)
    assert [str(warning.message) for warning in recwarn] == []
    assert capfd.readouterr().err == ""


def test_an_export_that_was_deferred_gives_the_same_bytes_without_training_again(make_job, caplog) -> None:
    caplog.set_level(logging.INFO)
    whole = make_job(settings="[HYPERPARAMETERS]\nEPOCHS = 2\n", name="whole")
    train_model(whole)
    trial = make_job(settings="[HYPERPARAMETERS]\nEPOCHS = 2\n", name="trial")
    train_model(replace(trial, defers_export=True))
    assert {path.name for path in trial.output.iterdir()} == {
        "state_dict.safetensors", "metrics.json", "history.jsonl", "timing.json"
    }  # fmt: skip
    assert len(list(trial.checkpoints.iterdir())) == 1

    caplog.clear()
    train_model(replace(trial, output=trial.output.with_name("exported")))
    assert "resumed from the checkpoint at step" in caplog.text
    assert "epoch 1" not in caplog.text
    for name in ("state_dict.safetensors", "metrics.json", "history.jsonl", "parity.json"):
        assert (trial.output.with_name("exported") / name).read_bytes() == (whole.output / name).read_bytes(), name
    assert (trial.output / "state_dict.safetensors").read_bytes() == (
        whole.output / "state_dict.safetensors"
    ).read_bytes()
