"""The validation metrics as `evaluate` modules."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import evaluate
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from mlpipe.errors import SettingsError
from mlpipe.settings.fields import METRIC_NAMES
from mlpipe.training.metrics import ValidationMetrics


def scikit_learn(name: str, truth: np.ndarray, probabilities: np.ndarray) -> float:
    prediction = probabilities.argmax(axis=1)
    if name == "log_loss":
        return sklearn_metrics.log_loss(truth, y_proba=probabilities, labels=range(probabilities.shape[1]))
    if name == "accuracy":
        return sklearn_metrics.accuracy_score(truth, prediction)
    if name == "mcc":
        return sklearn_metrics.matthews_corrcoef(truth, prediction)
    score, _, average = name.partition("_")
    compute = getattr(sklearn_metrics, f"{score}_score")
    return compute(truth, prediction, average=average or "macro", zero_division=0)


@pytest.fixture(scope="module")
def metrics() -> ValidationMetrics:
    return ValidationMetrics.load(METRIC_NAMES, 6)


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_equals_scikit_learns(metrics: ValidationMetrics, seed: int) -> None:
    # Of six labels one occurs nowhere, one in the truth alone and one in the predictions alone.
    generator = np.random.default_rng(seed)
    truth = generator.choice([0, 1, 2, 3], 200)
    probabilities = generator.dirichlet(np.full(6, 0.5), 200)
    probabilities[:, [3, 5]] *= 1e-9
    probabilities[np.arange(0, 200, 2), truth[::2]] += 1.0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = metrics.compute(truth, probabilities)
    assert tuple(found) == METRIC_NAMES
    for name in METRIC_NAMES:
        assert found[name] == pytest.approx(scikit_learn(name, truth, probabilities), abs=1e-12), name


@pytest.mark.parametrize("prediction", [0, 1])
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_one_label_alone_is_scored_as_by_scikit_learn(metrics: ValidationMetrics, prediction: int) -> None:
    truth, probabilities = np.zeros(5, dtype=np.int64), np.eye(6)[[prediction] * 5]
    found = metrics.compute(truth, probabilities)
    for name in METRIC_NAMES:
        assert found[name] == pytest.approx(scikit_learn(name, truth, probabilities), abs=1e-12), name


def test_macro_averages_come_out_as_computed_by_hand(metrics: ValidationMetrics) -> None:
    truth, prediction = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    scores = metrics.compute(truth, np.eye(6)[prediction])
    assert scores["f1"] == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert scores["accuracy"] == scores["f1_micro"] == pytest.approx(4 / 6)
    assert scores["precision"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert scores["recall_weighted"] == pytest.approx((2 + 1 / 2 * 2 + 1) / 6)


def test_computing_twice_starts_anew(metrics: ValidationMetrics) -> None:
    wrong, right = np.array([1, 0]), np.array([0, 1])
    assert metrics.compute(right, np.eye(6)[wrong])["accuracy"] == 0.0
    assert metrics.compute(right, np.eye(6)[right])["accuracy"] == 1.0


def module(predictions: str, compute: str, name: str = "predictions") -> str:
    """The source of a metric as the hub has it."""
    return textwrap.dedent(f"""
        import datasets
        import evaluate
        import numpy as np

        class Metric(evaluate.Metric):
            def _info(self):
                features = {{"{name}": {predictions}, "references": datasets.Value("int32")}}
                return evaluate.MetricInfo(description="", citation="", features=datasets.Features(features))

            def _compute(self, {name}, references):
                predicted = np.asarray({name})
                return {compute}
    """)


CLASSES, SCORES = 'datasets.Value("int32")', 'datasets.Sequence(datasets.Value("float32"))'


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files; what it is asked for is not printed."""

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """A hub on this machine: real HTTP, and a function that puts a metric there."""
    root = tmp_path / "hub"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(root)))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/spaces/{{path}}/resolve/{{revision}}/{{name}}"
    monkeypatch.setattr(evaluate.config, "HUB_EVALUATE_URL", url)
    monkeypatch.setattr(evaluate.config, "DOWNLOADED_EVALUATE_PATH", tmp_path / "downloads")

    def publish(name: str, source: str) -> None:
        folder = root / "spaces" / name / "resolve" / "main"
        folder.mkdir(parents=True)
        (folder / f"{name.rpartition('/')[2]}.py").write_text(source)

    yield publish
    server.shutdown()
    server.server_close()


def test_a_metric_of_the_hub_is_given_classes_or_probabilities_as_it_asks(hub) -> None:
    hub("evaluate-metric/plain", module(CLASSES, '{"share": float((predicted == references).mean())}'))
    hub("somebody/brier", module(SCORES, '{"b": ((predicted - np.eye(3)[references]) ** 2).sum(1).mean()}'))
    names = ("hub:plain", "hub:somebody/brier", "accuracy")
    truth, probabilities = np.array([0, 1]), np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]])
    found = ValidationMetrics.load(names, 3).compute(truth, probabilities)
    brier = (0.3**2 + 0.2**2 + 0.1**2 + 0.5**2 + 0.75**2 + 0.25**2) / 2
    assert found == pytest.approx({"hub:plain": 0.5, "hub:somebody/brier": brier, "accuracy": 0.5})


def test_one_score_a_row_is_the_probability_of_the_second_of_two_labels(hub) -> None:
    source = module('datasets.Value("float")', '{"mean": predicted.mean()}', name="prediction_scores")
    hub("evaluate-metric/scored", source)
    metrics = ValidationMetrics.load(["hub:scored"], 2)
    assert metrics.compute(np.array([0, 1]), np.array([[0.75, 0.25], [0.25, 0.75]])) == {"hub:scored": 0.5}
    with pytest.raises(SettingsError, match="hub:scored cannot be used: it does not score 3 classes"):
        ValidationMetrics.load(["hub:scored"], 3)


@pytest.mark.parametrize(
    ("name", "predictions", "compute", "reason"),
    [
        ("texts", 'datasets.Value("string")', '{"x": 1.0}', "it does not score 3 classes: it takes predictions: Value"),
        ("broken", CLASSES, '{"x": 1 / 0}', "it failed: division by zero"),
        ("matrix", CLASSES, '{"x": [[1, 2], [3, 4]]}', "expected one finite number, and it computed {'x': [[1,"),
        ("two", CLASSES, '{"x": 1.0, "y": 2.0}', "expected one finite number, and it computed {'x': 1.0, 'y'"),
        ("undefined", CLASSES, '{"x": float("nan")}', "expected one finite number, and it computed {'x': nan}"),
    ],
)
def test_a_metric_that_cannot_score_classes_is_refused_before_training(hub, name, predictions, compute, reason) -> None:
    hub(f"evaluate-metric/{name}", module(predictions, compute))
    with pytest.raises(SettingsError, match="METRICS") as caught:
        ValidationMetrics.load([f"hub:{name}"], 3)
    assert caught.value.message.startswith(f"[TRAINING] METRICS: hub:{name} cannot be used: {reason}")


def test_a_metric_that_the_hub_does_not_have_is_named(hub) -> None:
    with pytest.raises(SettingsError, match="hub:nothing-of-this-name cannot be used: the Hugging Face Hub did not"):
        ValidationMetrics.load(["accuracy", "hub:nothing-of-this-name"], 3)


def test_a_hub_that_does_not_answer_is_said_before_training(tmp_path: Path) -> None:
    program = """
        from mlpipe.errors import SettingsError
        from mlpipe.training.metrics import ValidationMetrics
        try:
            ValidationMetrics.load(["hub:f1"], 3)
        except SettingsError as error:
            print(error)
    """
    unreachable = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **unreachable, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "[TRAINING] METRICS: hub:f1 cannot be used: the Hugging Face Hub did not deliver it" in done.stdout
    assert "take it out of METRICS" in done.stdout
