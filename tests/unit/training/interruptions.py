"""Trains the job below FOLDER once in peace, and once for each signal while it is interrupted again and again.

`python interruptions.py FOLDER INTERRUPTIONS LAST_STEP SIGNAL...`: each attempt is a forked process, so that the
imports are paid for once. Each is interrupted a moment after it has got 1 to 4 steps further, or to LAST_STEP; the one
after the last interruption is left alone. Prints the exit code of every attempt, by the signal, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import mlpipe.jobs.train  # noqa: F401  # what every attempt would import anew
from mlpipe.jobs.__main__ import main


def start(folder: Path, series: str, number: int) -> int:
    """Start an attempt as a backend does: a base folder of its own, and what the attempts before it have left."""
    base = folder / series / str(number)
    base.mkdir(parents=True)
    (folder / series / "checkpoints").mkdir(exist_ok=True)
    (base / "input").symlink_to(folder / "input")
    (base / "checkpoints").symlink_to(folder / series / "checkpoints")
    child = os.fork()
    # A process group of its own, whichever of the two comes first.
    os.setpgid(child, child)
    if child:
        return child
    log = os.open(base / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["SAGEMAKER_BASE_DIR"] = str(base)
    os._exit(main(["train"]))


def newest(checkpoints: Path) -> int:
    """The step of the newest checkpoint, or 0."""
    return max((int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-*")), default=0)


def interrupt(child: int, checkpoints: Path, step: int, signum: int, delay: float) -> int:
    """Send the signal `delay` seconds after there is a checkpoint of that step; returns the exit code."""
    while newest(checkpoints) < step:
        if os.waitpid(child, os.WNOHANG)[0]:
            raise RuntimeError(f"the attempt ended before step {step}")
        time.sleep(0.001)
    time.sleep(delay)
    os.killpg(child, signum)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(folder: Path, series: str, interruptions: int, last_step: int) -> list[int]:
    """Interrupt one attempt after the other, and let the last one end; returns their exit codes."""
    generator, checkpoints, codes = random.Random(series), folder / series / "checkpoints", []
    for number in range(interruptions):
        step = min(newest(checkpoints) + generator.randint(1, 4), last_step)
        child = start(folder, series, number)
        codes.append(interrupt(child, checkpoints, step, signal.Signals[series], generator.uniform(0, 0.01)))
    last = start(folder, series, interruptions)
    return [*codes, os.waitstatus_to_exitcode(os.waitpid(last, 0)[1])]


if __name__ == "__main__":
    root, interruptions, last_step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    found = {"peace": train(root, "peace", 0, 0)}
    found |= {name: train(root, name, interruptions, last_step) for name in sys.argv[4:]}
    sys.stdout.write(json.dumps(found))
