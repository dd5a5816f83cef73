"""How far a tuning is: trials done, the best so far, and the time that the others will take."""

from __future__ import annotations

from statistics import fmean

from mlpipe.specs import TrialRecord, TrialState


class Progress:
    """Counts the trials of a tuning as they end."""

    def __init__(self, name: str, wanted: int, parallel: int, maximizes: bool) -> None:
        self._name = name
        self._wanted = wanted
        self._parallel = parallel
        self._maximizes = maximizes
        self._done = 0
        self._seconds: list[float] = []
        self.best: TrialRecord | None = None
        self.trials_since_best = 0
        self.failures_in_a_row = 0

    def told(self, record: TrialRecord) -> str:
        """Count a trial, and say in a line how things stand."""
        self._done += 1
        self._seconds.append(record.seconds)
        self.failures_in_a_row = self.failures_in_a_row + 1 if record.state is TrialState.FAILED else 0
        self.trials_since_best += 1
        if is_better(record, self.best, maximizes=self._maximizes):
            self.best, self.trials_since_best = record, 0
        left = max(0, self._wanted - self._done)
        seconds = fmean(self._seconds) * left / self._parallel
        what = f"{record.objective:.4f}" if record.objective is not None else record.error.partition("\n")[0]
        how = {TrialState.COMPLETED: "", TrialState.STOPPED: ", stopped early", TrialState.FAILED: ", failed"}
        best = f"best {self.best.objective:.4f} of trial {self.best.number}" if self.best else "no best yet"
        time_left = f", about {seconds:.0f} s left" if left else ""
        return (
            f"{self._name}: trial {record.number}, {self._done} of {self._wanted}: {what}{how[record.state]} after "
            f"{record.seconds:.1f} s; {best}{time_left}"
        )

    def has_reached(self, target: float | None) -> bool:
        """Whether the best trial is as good as `target`."""
        if target is None or self.best is None or self.best.objective is None:
            return False
        return self.best.objective >= target if self._maximizes else self.best.objective <= target


def best_of(records: tuple[TrialRecord, ...], *, maximizes: bool) -> TrialRecord | None:
    """The completed trial with the best objective, the earliest of equal ones; None where none has completed."""
    best: TrialRecord | None = None
    for record in sorted(records, key=lambda record: record.number):
        if is_better(record, best, maximizes=maximizes):
            best = record
    return best


def is_better(record: TrialRecord, best: TrialRecord | None, *, maximizes: bool) -> bool:
    """Whether a trial can be published, and is better than the best before it."""
    if record.state is not TrialState.COMPLETED or record.objective is None:
        return False
    if best is None or best.objective is None:
        return True
    return record.objective > best.objective if maximizes else record.objective < best.objective
