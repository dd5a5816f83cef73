"""The environment variables that every job is given, wherever it runs."""

from __future__ import annotations

from mlpipe.specs import JobSpec


def job_variables(spec: JobSpec) -> dict[str, str]:
    """Unbuffered output, and a number of threads that does not depend on the moment."""
    return {
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(spec.threads),
        # libgomp's threads wait for each other by spinning, for so long that another busy process slows a training far
        # more than by its share of the cores; with fewer spins that ends, at a small loss on an idle machine.
        "GOMP_SPINCOUNT": "1000",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
