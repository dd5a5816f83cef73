"""Rows per second and macro F1 of mlpipe's training beside Hugging Face's Trainer and a plain loop.

    make demo && .venv/bin/python benchmarks/training.py [--data FOLDER] [--bf16] [--compile]

Two models, each on rows that mlpipe itself has reconciled, split and encoded: a small BERT with random weights on made
documents whose lengths are log-normal, and the demo's MiniLM on the short queries of banking77 (the folder with its
train.csv is --data, or the variable BANKING77, or ../shared/data/banking77; without it this part is left out).

Every way trains the same model from the same weights on the same rows, for as many epochs, with the same optimiser,
schedule, clipping and threads, and is judged by the same code on the same validation rows. The ways take turns; each
round has a seed of its own, for all of them. The speed is that of a way's best round, because other work on a machine
only ever slows a round down, and counts the training steps alone: neither validation nor what is saved between epochs.
The macro F1 is that of the last epoch, the mean over the rounds. Run it on an otherwise idle machine: a neighbour slows
some ways down more than others.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    """Print one table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("BANKING77", "../shared/data/banking77")
    parser.add_argument("--data", type=Path, default=Path(default), help=f"folder of banking77 (default: {default})")
    parser.add_argument("--only", choices=["documents", "banking77"], help="leave the other data set out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="one more row: MIXED_PRECISION = bf16")
    parser.add_argument("--compile", action="store_true", help="one more row: COMPILE = yes")
    parser.add_argument("--quick", action="store_true", help="few rows and one epoch, to see that everything works")
    arguments = parser.parse_args()
    # What the local backend gives every job. libgomp reads it when torch is imported, so that comes after.
    os.environ |= {"OMP_NUM_THREADS": str(arguments.threads), "GOMP_SPINCOUNT": "1000"}
    sys.path.insert(0, ".")  # user_functions.pretrained, in the current folder
    from training_session.session import run_session

    run_session(arguments)


if __name__ == "__main__":
    main()
