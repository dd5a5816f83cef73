"""When a trial has fallen so far behind that it is stopped: SageMaker's rule, for trials that run anywhere.

After each epoch, the objective is compared with the median of the running averages of the objectives of earlier trials
up to the same epoch; a trial that is worse ends.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median


def has_fallen_behind(curve: Sequence[float], earlier: Sequence[Sequence[float]], *, maximizes: bool) -> bool:
    """Whether the last value of `curve` is worse than the median of the running averages of `earlier` curves.

    Only those that got as far count; without any, or without a value yet, no trial is behind.
    """
    epoch = len(curve)
    if not epoch:
        return False
    averages = [fmean(other[:epoch]) for other in earlier if len(other) >= epoch]
    if not averages:
        return False
    middle = median(averages)
    return curve[-1] < middle if maximizes else curve[-1] > middle
