from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import datasets
import pytest
import transformers

from mlpipe.batching import EncodedRows
from mlpipe.errors import DataError, UserFunctionError
from mlpipe.jobs import prepare, reconcile
from mlpipe.jobs.environment import JobContext
from mlpipe.specs import Encoding

TWO_MODELS = """
from pathlib import Path

class Words:
    def __init__(self, scale):
        self.scale = scale
    def save_pretrained(self, folder):
        Path(folder, "scale.txt").write_text(str(self.scale))

def load_processor(model_name, settings):
    return Words(10) if model_name == "words" else None

def encode(examples, processor, model_name, settings):
    assert "label" not in examples and "split" not in examples and len(examples["id"]) <= 1000
    texts = examples["text"]
    if processor is None:
        return {"size": [[len(text), 1.5] for text in texts]}
    ids = [[processor.scale * len(word) for word in text.split()] for text in texts]
    return {"input_ids": ids, "mask": [[True] * len(row) for row in ids]}
"""


def texts(count: int, **more: object) -> list[dict]:
    return [{"text": f"t{number} " * (1 + number % 7), "label": "abc"[number % 3], **more} for number in range(count)]


def prepared(data_job, rows, *, code="", data="", models="m", name="run", seed=42) -> JobContext:
    first = data_job(rows, data=data, name=f"{name}-reconcile")
    reconcile.run(first)
    job = data_job(
        code=code, data=data, models=models, name=f"{name}-prepare", seed=seed, channels={"reconciled": first.output}
    )
    prepare.run(job)
    return job


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def read_splits(job: JobContext) -> dict[str, datasets.Dataset]:
    return {split: datasets.load_from_disk(str(job.output / split)) for split in ("train", "validation", "test")}


def test_a_snapshot_holds_every_row_once_with_its_class_and_inputs(data_job):
    job = prepared(data_job, texts(200), code=TWO_MODELS, models="words, sizes")
    splits = read_splits(job)
    rows = [row for split in splits.values() for row in split]
    assert {split: len(data) for split, data in splits.items()} == {"train": 140, "validation": 20, "test": 40}
    assert sorted(row["text"] for row in rows) == sorted(row["text"] for row in texts(200))
    assert len({row["id"] for row in rows}) == 200
    assert list(rows[0]) == ["id", "label", "text", "words_input_ids", "words_mask", "sizes_size"]
    for row in rows:
        words = row["text"].split()
        assert row["words_input_ids"] == [10 * len(word) for word in words]
        assert row["words_mask"] == [True] * len(words)
        assert row["sizes_size"] == [len(row["text"]), 1.5]
        assert "abc"[row["label"]] == "abc"[int(words[0][1:]) % 3]
    assert read_json(job.output / "id2label.json") == {"0": "a", "1": "b", "2": "c"}


def test_the_encoding_says_what_each_model_takes_and_training_can_read_it(data_job):
    job = prepared(data_job, texts(200), code=TWO_MODELS, models="words, sizes")
    encoding = Encoding.from_json(read_json(job.output / "encoding" / "encoding.json"))
    ragged = {"ragged": True, "trailing_shape": [], "min_length": 1, "max_length": 7}
    fixed = {"ragged": False, "trailing_shape": [2], "min_length": None, "max_length": None}
    assert json.loads(json.dumps(encoding.to_json()))["inputs"] == {
        "words": {"input_ids": {"dtype": "int64", **ragged}, "mask": {"dtype": "bool", **ragged}},
        "sizes": {"size": {"dtype": "float32", **fixed}},
    }
    assert (job.output / "encoding" / "processors" / "words" / "scale.txt").read_text() == "10"
    assert not (job.output / "encoding" / "processors" / "sizes").exists()
    rows = EncodedRows.open(job.output / "train", encoding, "words")
    batch = rows.collate([0, 1], {"input_ids": 0, "mask": 0})
    expected = read_splits(job)["train"][1]["words_input_ids"]
    assert batch["input_ids"][1][: len(expected)].tolist() == expected
    assert batch["mask"][1].sum() == len(expected)


def test_one_model_has_its_inputs_without_a_prefix(data_job):
    assert "input_ids" in read_splits(prepared(data_job, texts(30)))["train"].column_names


def test_the_card_says_what_is_where(data_job):
    job = prepared(data_job, [*texts(60), texts(1)[0]])
    card = read_json(job.output / "data_card.json")
    assert card["rows"] == {"train": 42, "validation": 6, "test": 12}
    assert card["labels"] == {name: {"train": 14, "validation": 2, "test": 4} for name in "abc"}
    assert card["encoded_lengths"]["m"].keys() == {"train", "validation", "test"}
    assert card["encoded_lengths"]["m"]["train"] == {"min": 1, "median": 4, "p95": 7, "max": 7}
    assert card["dropped_rows"] == {"identical_to_test": 0, "identical_to_validation": 0}
    assert card["majority"] == ["a"], "of equally frequent labels the first"
    assert card["labels_without_test_rows"] == []
    assert card["groups"] is None
    assert card["reconciled"]["duplicates_dropped"] == 1
    pairs = sorted((row["id"], "abc"[row["label"]]) for row in read_splits(job)["test"])
    lines = "".join(f'["{row_id}","{label}"]\n' for row_id, label in pairs)
    assert card["test_sha256"] == hashlib.sha256(lines.encode()).hexdigest()


def test_equal_rows_and_seed_give_equal_files(data_job):
    first, second = (prepared(data_job, texts(90), code=TWO_MODELS, models="words", name=name) for name in "ab")
    paths = [path.relative_to(first.output) for path in first.output.rglob("*") if path.is_file()]
    assert Path("test/data-00000-of-00001.arrow") in paths
    assert not any(path.name.startswith(".") for path in paths)
    for path in paths:
        assert (first.output / path).read_bytes() == (second.output / path).read_bytes(), path


def test_another_order_of_the_rows_gives_the_same_test_set(data_job):
    cards = [
        read_json(prepared(data_job, rows, name=name).output / "data_card.json")
        for name, rows in (("a", texts(90)), ("b", texts(90)[::-1]))
    ]
    assert cards[0]["test_sha256"] == cards[1]["test_sha256"]


def test_another_seed_gives_another_test_set(data_job):
    cards = [
        read_json(prepared(data_job, texts(90), name=str(seed), seed=seed).output / "data_card.json") for seed in (1, 2)
    ]
    assert cards[0]["test_sha256"] != cards[1]["test_sha256"]


def test_groups_stay_whole_and_rows_without_a_group_are_free(data_job):
    rows = [{**row, "author": number // 5 if number < 100 else None} for number, row in enumerate(texts(200))]
    job = prepared(data_job, rows, data="GROUP_KEY = author")
    found = {split: {row["author"] for row in data} - {None} for split, data in read_splits(job).items()}
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 20
    card = read_json(job.output / "data_card.json")
    assert card["groups"] == {"key": "author", "count": 120, "across_splits": 0}
    assert card["rows"] == {"train": 140, "validation": 20, "test": 40}


def test_whole_number_labels_are_in_numeric_order(data_job):
    rows = [{"text": str(number), "label": (9, 10, 2)[number % 3]} for number in range(30)]
    job = prepared(data_job, rows)
    assert read_json(job.output / "id2label.json") == {"0": "2", "1": "9", "2": "10"}


def test_the_users_splits_stand_and_leaks_and_crossing_groups_are_reported(data_job, caplog):
    rows = [
        {**row, "author": number // 4, "split": "test" if number < 30 else "train"}
        for number, row in enumerate(texts(100))
    ]
    leak = {**rows[0], "split": "train"}
    with caplog.at_level(logging.WARNING):
        job = prepared(data_job, [*rows, leak], data="GROUP_KEY = author\nVALIDATION_FRACTION = 0.1")
    splits = read_splits(job)
    card = read_json(job.output / "data_card.json")
    assert sorted(row["text"] for row in splits["test"]) == sorted(row["text"] for row in rows[:30])
    assert card["groups"] == {"key": "author", "count": 25, "across_splits": 1}
    assert card["dropped_rows"] == {"identical_to_test": 1, "identical_to_validation": 0}
    assert "split" not in splits["train"].column_names
    assert "dropped 1 rows identical to test" in caplog.text
    assert "1 groups lie in more than one" in caplog.text


def given_splits(*labels_by_split: tuple[str, str]) -> list[dict]:
    return [
        {"text": f"{split} {label} {number}", "label": label, "split": split}
        for split, labels in labels_by_split
        for number, label in enumerate(labels)
    ]


def test_a_label_without_test_rows_is_named(data_job, caplog):
    rows = given_splits(("train", "aabbcc"), ("validation", "abc"), ("test", "ab"))
    with caplog.at_level(logging.WARNING):
        job = prepared(data_job, rows)
    assert read_json(job.output / "data_card.json")["labels_without_test_rows"] == ["c"]
    assert "labels without a test row: c" in caplog.text


def test_a_label_without_training_rows_is_refused(data_job):
    rows = given_splits(("train", "aabb"), ("validation", "abc"), ("test", "abc"))
    with pytest.raises(DataError, match="1 of 3 labels have no training row: c"):
        prepared(data_job, rows)


@pytest.mark.parametrize(
    ("rows", "problem", "hint"),
    [
        (given_splits(("validation", "ab"), ("test", "ab")), "the train split is empty", "split 'train'"),
        (texts(3), "the validation split is empty", "VALIDATION_FRACTION"),
    ],
)
def test_an_empty_split_is_refused_with_what_to_do(data_job, rows, problem, hint):
    with pytest.raises(DataError, match=problem) as error:
        prepared(data_job, rows)
    assert hint in error.value.hint


@pytest.mark.parametrize("key", ["text", "id", "label", "split"])
def test_an_input_named_like_a_column_is_refused(data_job, key):
    code = f"def encode(examples, processor, model_name, settings):\n    return {{{key!r}: [1] * len(examples['id'])}}"
    with pytest.raises(DataError, match=f"encode.* model m returns '{key}', which is a column") as error:
        prepared(data_job, texts(30), code=code)
    assert "rename" in error.value.hint


def test_inputs_of_two_models_that_share_a_column_are_refused(data_job):
    code = """
def encode(examples, processor, model_name, settings):
    return {"b_c" if model_name == "a" else "c": [1] * len(examples["id"])}
"""
    with pytest.raises(DataError, match="model a_b returns 'a_b_c', which is a column"):
        prepared(data_job, texts(30), code=code, models="a, a_b")


def test_a_fast_tokenizer_is_saved_as_it_was_loaded(data_job):
    code = """
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

def load_processor(model_name, settings):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "t1": 1, "t2": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[UNK]")

def encode(examples, processor, model_name, settings):
    return processor(examples["text"], truncation=True, max_length=3)
"""
    job = prepared(data_job, texts(60), code=code)
    loaded = transformers.AutoTokenizer.from_pretrained(job.output / "encoding" / "processors" / "m")
    assert loaded("t1 t2 t3 t1").input_ids == [1, 2, 0, 1]
    lengths = {len(row["input_ids"]) for row in read_splits(job)["train"]}
    assert lengths == {1, 2, 3}
    assert "attention_mask" in read_splits(job)["train"].column_names


def test_a_processor_that_cannot_be_saved_is_refused(data_job):
    code = "def load_processor(model_name, settings):\n    return object()"
    with pytest.raises(UserFunctionError, match="for model m returned a object without save_pretrained"):
        prepared(data_job, texts(30), code=code)


def test_a_processor_whose_saving_fails_is_the_users_failure(data_job):
    code = """
class Broken:
    def save_pretrained(self, folder):
        raise RuntimeError("no disk")

def load_processor(model_name, settings):
    return Broken()
"""
    with pytest.raises(UserFunctionError, match=r"save_pretrained\(\) .* failed at .*RuntimeError: no disk"):
        prepared(data_job, texts(30), code=code)


def test_an_empty_sequence_is_named_with_the_id_of_its_row(data_job):
    rows = [{**row, "id": f"row-{number}"} for number, row in enumerate(texts(30))]
    rows[7]["text"] = "  "
    with pytest.raises(DataError, match="returned nothing for 'input_ids' of row 'row-7'"):
        prepared(data_job, rows)


def test_an_encode_that_fails_names_its_batch(data_job):
    code = """
def encode(examples, processor, model_name, settings):
    if "t1500 " in examples["text"][500]:
        raise ValueError("odd")
    return {"input_ids": [[1]] * len(examples["text"])}
"""
    with pytest.raises(UserFunctionError, match=r"encode\(\) failed .*ValueError: odd") as error:
        prepared(data_job, texts(2_100), code=code)
    assert error.value.hint.startswith("it was given 1000 rows (ids ")


def test_what_one_model_changes_in_its_examples_the_next_does_not_see(data_job):
    code = """
def encode(examples, processor, model_name, settings):
    lengths = [[len(text)] * len(text) for text in examples["text"]]
    examples["text"][:] = ["x"] * len(lengths)
    return {"length": lengths}
"""
    row = read_splits(prepared(data_job, texts(30), code=code, models="a, b"))["train"][0]
    assert row["a_length"] == row["b_length"]
    assert row["text"] != "x"


def test_a_group_key_that_the_rows_lack_is_reported(data_job):
    first = data_job(texts(30), name="first")
    reconcile.run(first)
    job = data_job(data="GROUP_KEY = author", channels={"reconciled": first.output})
    with pytest.raises(DataError, match="GROUP_KEY names the column 'author', but the reconciled rows have text"):
        prepare.run(job)


def test_texts_that_stand_in_two_splits_are_reported_by_the_card_and_the_log(data_job, caplog):
    rows = given_splits(("train", "aabb"), ("validation", "ab"), ("test", "ab"))
    leak = {"text": rows[0]["text"], "label": "a", "split": "test", "page": 2}
    with caplog.at_level(logging.WARNING):
        job = prepared(data_job, [*rows, leak], data="TEXT_COLUMN = text")
    found = read_json(job.output / "data_card.json")["near_duplicates"]
    assert (found["column"], found["threshold"]) == ("text", 0.8)
    assert found["leaks"]["test_in_train"]["near"] == found["leaks"]["test_in_train"]["identical"] == 1
    assert "1 test rows have a text that is nearly or exactly that of a train row" in caplog.text


@pytest.mark.parametrize("data", ["", "TEXT_COLUMN = text\nNEAR_DUPLICATE_THRESHOLD = 0"])
def test_near_duplicates_are_looked_for_only_where_there_is_a_text_and_a_threshold(data_job, data):
    job = prepared(data_job, texts(30), data=data)
    assert read_json(job.output / "data_card.json")["near_duplicates"] is None
