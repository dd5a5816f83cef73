from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlpipe.batching import EncodedRows
from mlpipe.errors import DataError, JobError
from mlpipe.inference.engine import ExportedModel, plan_batches, predict_logits, softmax
from mlpipe.specs import EncodedInput, Encoding, InputSpec, TaskType, ValidShapes

PADDING_ID = 7
LENGTHS = [5, 1, 9, 3, 3, 12, 16, 2, 9, 9, 1, 7, 4]

shapes_and_lengths = st.builds(
    lambda batch_dynamic, seq_dynamic, invariant, batch_size, low, high: ValidShapes(
        batch_dynamic, seq_dynamic, invariant, batch_size, low, high
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(20, 30),
)


class MeanOfEverything(nn.Module):
    """Takes padding for text: right only where nothing is padded."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(20, 8)
        self.output = nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.output(self.embedding(input_ids).mean(1)) + 0 * attention_mask.sum()


class FirstAndThird(MeanOfEverything):
    """Fails on rows of fewer than three tokens, padding included."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        tokens = self.embedding(input_ids) * attention_mask.unsqueeze(-1).float()
        return self.output(tokens[:, 0] + tokens[:, 2])

    def alone(self, row: dict) -> np.ndarray:
        with torch.inference_mode():
            return self.output(self.embedding(torch.tensor(row["input_ids"][0:3:2])).sum(0)).numpy()


class FixedShape(MeanOfEverything):
    """Right for exactly three rows of 16 tokens, as a traced model that has its shapes baked in."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        tokens = self.embedding(input_ids) * attention_mask.unsqueeze(-1).float()
        return self.output(tokens.reshape(3, 16, 8).sum(1))

    def alone(self, row: dict) -> np.ndarray:
        with torch.inference_mode():
            return self.output(self.embedding(torch.tensor(row["input_ids"])).sum(0)).numpy()


@pytest.mark.parametrize("token_budget", [1, 20, 10_000])
def test_batches_give_what_every_row_gives_alone(
    snapshot, exported, token_rows, mean_of_tokens, one_by_one, token_budget
):
    data, module = token_rows(LENGTHS), mean_of_tokens()

    logits = predict_logits(exported(module), snapshot(data).rows(), token_budget)

    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, one_by_one(module, data), atol=1e-5)


def test_a_model_that_reads_padding_gets_rows_of_one_length_at_a_time(snapshot, exported, token_rows, one_by_one):
    data, module = token_rows(LENGTHS), MeanOfEverything()
    model = exported(module, batch_invariant=False, min_length=3)
    rows = snapshot(data).rows()

    np.testing.assert_allclose(predict_logits(model, rows, 512), one_by_one(module, data), atol=1e-5)
    sizes = [len(batch.rows) for batch in plan_batches(rows.lengths, model.signature.shapes, 512)]
    assert max(sizes) == 3, "the three rows of nine tokens go together"


def test_padding_has_the_value_of_the_signature(snapshot, exported, token_rows, one_by_one):
    data, module = token_rows(LENGTHS), MeanOfEverything()
    module.forward = lambda input_ids, attention_mask: module.output(module.embedding(input_ids).sum(1))
    with torch.no_grad():
        module.embedding.weight[PADDING_ID] = 0

    logits = predict_logits(exported(module), snapshot(data).rows(), 10_000)

    np.testing.assert_allclose(logits, one_by_one(module, data), atol=1e-5)


def test_rows_shorter_than_the_model_takes_are_padded_up(snapshot, exported, token_rows):
    data, module = token_rows([1, 2, 6]), FirstAndThird()

    logits = predict_logits(exported(module, min_length=3), snapshot(data).rows(), token_budget=1)

    np.testing.assert_allclose(logits, [module.alone(row) for row in data], atol=1e-5)


def test_a_model_of_fixed_shape_gets_exactly_that_shape(snapshot, exported, token_rows):
    data, module = token_rows(LENGTHS), FixedShape()
    model = exported(module, example=(3, 16), batch_dynamic=False, seq_dynamic=False, batch_size=3, max_length=16)

    logits = predict_logits(model, snapshot(data).rows(), 512)

    assert len(data) % 3, "the last batch has to be filled up"
    np.testing.assert_allclose(logits, [module.alone(row) for row in data], atol=1e-5)


def test_a_row_that_does_not_fit_a_fixed_length_is_named(snapshot, exported, token_rows, mean_of_tokens):
    model = exported(mean_of_tokens(), seq_dynamic=False, max_length=8)

    with pytest.raises(
        DataError, match=r"row 'row-1' has length 9, but model takes exactly 8\n.*cut every row"
    ) as error:
        predict_logits(model, snapshot(token_rows([3, 9, 8])).rows(), 512)
    assert error.value.hint


def test_rows_longer_than_what_was_checked_run_and_are_counted_once(
    snapshot, exported, token_rows, mean_of_tokens, one_by_one, caplog
):
    data, module = token_rows([3, 9, 8, 12, 10]), mean_of_tokens()
    with caplog.at_level(logging.WARNING, logger="mlpipe"):
        logits = predict_logits(exported(module, max_length=8), snapshot(data).rows(), 10)

    np.testing.assert_allclose(logits, one_by_one(module, data), atol=1e-5)
    assert [record.message for record in caplog.records] == [
        "model: 3 of 5 rows are longer than the 8 at which its export was checked"
    ]


def test_logits_that_are_not_finite_are_reported_with_their_row(snapshot, exported, token_rows, mean_of_tokens):
    module = mean_of_tokens()
    with torch.no_grad():
        module.embedding.weight[0] = torch.nan
    data = token_rows([4, 4, 4, 4])
    data[2]["input_ids"][1] = 0

    with pytest.raises(JobError, match="not finite for row 'row-2'"):
        predict_logits(exported(module), snapshot(data).rows(), 512)


def test_a_failing_model_is_reported_with_its_rows_and_the_cause(snapshot, exported, token_rows, mean_of_tokens):
    data = token_rows([4] * 5)
    data[3]["input_ids"][0] = 99

    with pytest.raises(JobError, match=r"model failed on rows 'row-0', 'row-1', 'row-2' and 2 more: .*out of range"):
        predict_logits(exported(mean_of_tokens()), snapshot(data).rows(), 512)


def test_an_input_that_the_rows_do_not_have_is_named(snapshot, exported, token_rows, mean_of_tokens):
    data = [{key: value for key, value in row.items() if key != "attention_mask"} for row in token_rows([4, 4])]

    with pytest.raises(DataError, match="takes an input 'attention_mask', .* they have input_ids"):
        predict_logits(exported(mean_of_tokens()), snapshot(data).rows(), 512)


def test_logits_of_another_shape_are_refused(snapshot, exported, token_rows, mean_of_tokens):
    model = exported(mean_of_tokens(), labels=["a", "b"])

    with pytest.raises(JobError, match=r"returned logits \(1, 3\), expected \(1, 2\)"):
        predict_logits(model, snapshot(token_rows([4])).rows(), 512)


def test_inputs_of_fixed_size_go_in_batches_without_tokens(tmp_path, exported):
    from datasets import Dataset

    pixels = np.random.default_rng(0).normal(size=(70, 2, 3)).astype(np.float32)
    Dataset.from_dict({"id": [str(i) for i in range(70)], "label": [0] * 70, "pixels": pixels.tolist()}).save_to_disk(
        tmp_path / "test"
    )
    described = EncodedInput("float32", False, (2, 3), None, None)
    encoding = Encoding(TaskType.SINGLE_LABEL, ("model",), ("a", "b", "c"), {"model": {"pixels": described}})
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    model = exported(
        module,
        example=(2, 2, 3),
        inputs=(InputSpec("pixels", "float32", 0.0, False, (2, 3)),),
        min_length=None,
        max_length=None,
    )
    rows = EncodedRows.open(tmp_path / "test", encoding, "model")

    with torch.inference_mode():
        expected = module(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(predict_logits(model, rows, token_budget=1_000), expected, atol=1e-5)
    assert max(len(batch.rows) for batch in plan_batches(rows.lengths, model.signature.shapes, 1_000)) == 32


def test_a_file_that_is_no_torchscript_is_reported(tmp_path, export, mean_of_tokens):
    folder = export(mean_of_tokens(), tmp_path / "minilm")
    (folder / "model.pt").write_bytes(b"not a model")

    with pytest.raises(JobError, match=r"model\.pt of minilm cannot be loaded by torch"):
        ExportedModel.load(folder)


@given(st.lists(st.integers(1, 20), max_size=40), shapes_and_lengths, st.integers(1, 100))
def test_every_plan_holds_each_row_once_and_keeps_to_the_valid_shapes(lengths, shapes, token_budget):
    own = np.array(lengths, dtype=np.int64)
    plan = plan_batches(own, shapes, token_budget)

    assert sorted(row for batch in plan for row in batch.rows) == list(range(len(lengths)))
    for batch in plan:
        assert batch.length >= own[batch.rows].max()
        if not shapes.seq_dynamic:
            assert batch.length == shapes.max_length
        elif not shapes.batch_invariant:
            assert set(own[batch.rows]) == {batch.length}
        else:
            assert batch.length == max(own[batch.rows].max(), shapes.min_length)
        if shapes.batch_dynamic:
            assert len(batch.rows) == 1 or len(batch.rows) * batch.length <= token_budget
        else:
            assert len(batch.rows) <= shapes.batch_size


def test_probabilities_sum_to_one_even_for_extreme_logits():
    logits = np.array([[1e4, 0, -1e4], [0, 0, 0], [-3e38, 3e38, 0]], dtype=np.float32)

    np.testing.assert_allclose(softmax(logits), [[1, 0, 0], [1 / 3] * 3, [0, 1, 0]], atol=1e-7)
    assert softmax(logits).dtype == np.float32
