"""What a training job tells about itself."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from mlpipe.training.history import EpochRecord, EpochTiming, History, objective_line, write_json


def history_of(*values: float, is_maximized: bool = True) -> History:
    history = History("f1", is_maximized)
    for epoch, value in enumerate(values, start=1):
        record = EpochRecord(epoch, 1.0 / epoch, 0.1 / epoch, 2.0 / epoch, {"f1": value, "accuracy": 1 - value})
        history.add(record, EpochTiming(epoch, 1.5, 0.5, 64.0))
    return history


def metric_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if message.startswith("mlpipe-objective: ")]


def test_the_metric_line_tells_the_best_so_far(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    history_of(0.5, 0.75, 0.25)
    assert metric_lines(caplog) == ["mlpipe-objective: f1=0.500000", *["mlpipe-objective: f1=0.750000"] * 2]
    assert caplog.messages[0] == "epoch 1: train_loss 1.0000, validation_loss 2.0000, f1 0.5000, accuracy 0.5000"


def test_the_metric_line_can_be_read_back() -> None:
    match = re.fullmatch(r"mlpipe-objective: f1=([0-9.]+)", objective_line("f1", 2 / 3))
    assert match is not None
    assert float(match[1]) == pytest.approx(2 / 3, abs=1e-6)


def test_of_equal_epochs_the_first_is_the_best() -> None:
    history = history_of(0.2, 0.6, 0.6, 0.1)
    assert history.best.epoch == 2
    assert history.epochs_since_best == 2


def test_the_lowest_is_the_best_where_less_is_better(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    history = history_of(0.7, 0.2, 0.2, 0.9, is_maximized=False)
    assert history.best.epoch == 2
    assert history.epochs_since_best == 2
    assert metric_lines(caplog) == ["mlpipe-objective: f1=0.700000", *["mlpipe-objective: f1=0.200000"] * 3]
    history.save(tmp_path, rows={"train": 1}, parameters=5, environment={})
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["objective_type"], metrics["objective"], metrics["best_epoch"]) == ("Minimize", 0.2, 2)


def test_the_files_tell_every_epoch_and_the_best_one(tmp_path: Path) -> None:
    history = history_of(0.2, 0.6, 0.4)
    history.save(tmp_path, rows={"train": 10, "validation": 4}, parameters=7, environment={"threads": 2})
    history.plot(tmp_path / "plots")
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[1] == {"epoch": 2, "train_loss": 0.5, "lr": 0.05, "validation_loss": 1.0, "f1": 0.6, "accuracy": 0.4}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == {
        "objective_metric_name": "f1",
        "objective_type": "Maximize",
        "objective": 0.6,
        "best_epoch": 2,
        "epochs_run": 3,
        "validation": {"loss": 1.0, "f1": 0.6, "accuracy": 0.4},
        "rows": {"train": 10, "validation": 4},
        "parameters": 7,
    }
    timing = json.loads((tmp_path / "timing.json").read_text())
    assert timing["threads"] == 2
    assert timing["epochs"][0] == {"epoch": 1, "train_seconds": 1.5, "validation_seconds": 0.5, "rows_per_second": 64.0}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"curves.png", "curves.svg"}


def test_a_number_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"loss": float("nan")})
