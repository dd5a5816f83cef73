"""What is known of a type of machine from its name."""

from __future__ import annotations

import re

from mlpipe.errors import SettingsError

_SIZE = re.compile(r"ml\.[a-z0-9-]+\.(?P<count>\d*)(?P<size>medium|large|xlarge)\Z")
_VCPUS = {"medium": 2, "large": 2, "xlarge": 4}


def vcpus(instance_type: str) -> int:
    """The virtual CPUs of a type: 4 for each `x` of its size (https://aws.amazon.com/sagemaker/ai/pricing/ lists them).

    Raises SettingsError for a size that says nothing.
    """
    match = _SIZE.match(instance_type)
    if not match:
        raise SettingsError(
            f"[SAGEMAKER]: how many CPUs {instance_type} has is not known",
            hint="write their number to [TRAINING] THREADS",
        )
    return _VCPUS[match["size"]] * int(match["count"] or 1)
