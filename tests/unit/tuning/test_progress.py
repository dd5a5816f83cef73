"""How far a tuning is, and which trial is the best."""

from __future__ import annotations

from mlpipe.specs import TrialRecord, TrialState
from mlpipe.tuning.progress import Progress, best_of


def trial(number: int, value: float | None, state: TrialState = TrialState.COMPLETED) -> TrialRecord:
    curve = () if value is None else (value,)
    return TrialRecord(number, f"t-{number}", state, {}, curve, seconds=2.0, error="" if curve else "it broke\n  hint")


def test_the_best_is_completed_and_the_earliest_of_equal_ones():
    trials = (trial(3, 0.8), trial(1, 0.8), trial(2, 0.9, TrialState.STOPPED), trial(4, None, TrialState.FAILED))
    best = best_of(trials, maximizes=True)
    assert best is not None
    assert best.number == 1
    lowest = best_of((trial(1, 0.8), trial(2, 0.3)), maximizes=False)
    assert lowest is not None
    assert lowest.number == 2
    assert best_of((trial(1, None, TrialState.FAILED),), maximizes=True) is None


def test_progress_tells_the_best_and_the_time_left():
    progress = Progress("tune-m", 4, 2, maximizes=True)
    assert progress.told(trial(1, 0.5)) == (
        "tune-m: trial 1, 1 of 4: 0.5000 after 2.0 s; best 0.5000 of trial 1, about 3 s left"
    )
    assert "trial 2, 2 of 4: 0.4000, stopped early" in progress.told(trial(2, 0.4, TrialState.STOPPED))
    assert progress.trials_since_best == 1
    assert "trial 3, 3 of 4: it broke, failed after" in progress.told(trial(3, None, TrialState.FAILED))
    assert (progress.failures_in_a_row, progress.trials_since_best) == (1, 2)
    assert progress.told(trial(4, 0.6)).endswith("best 0.6000 of trial 4")
    assert progress.failures_in_a_row == 0
    assert progress.has_reached(0.6)
    assert not progress.has_reached(0.7)
    assert not progress.has_reached(None)
