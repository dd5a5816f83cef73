"""What AWS refuses, as an error of mlpipe: the action, what the service said, and what to do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from mlpipe.errors import CloudError
from mlpipe.storage.s3_errors import CREDENTIALS, LOG_IN, code_of

THROTTLED = ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded")

_AGAIN = "the same command again comes back to jobs that were started"
_HINTS = {
    "ExpiredToken": "the credentials have expired: log in again (`aws sso login`), then " + _AGAIN,
    "ExpiredTokenException": "the credentials have expired: log in again (`aws sso login`), then " + _AGAIN,
    "InvalidClientTokenId": LOG_IN,
    "UnrecognizedClientException": LOG_IN,
    "SignatureDoesNotMatch": LOG_IN,
    "RequestExpired": "set the clock of this machine: it differs from the service's by more than 5 minutes",
    "ResourceLimitExceeded": "the account's quota is used up: ask for more (docs/aws.md says how), take another "
    "[SAGEMAKER] INSTANCE_TYPE, or fewer MAX_PARALLEL_JOBS",
}


@contextlib.contextmanager
def reported(action: str) -> Iterator[None]:
    """Turn what boto3 raises into a CloudError."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        code = code_of(error)
        raise CloudError(
            f"cannot {action}: {code}: {details.get('Message') or 'no reason given'}", hint=_hint(error, code)
        ) from error
    except BotoCoreError as error:
        hint = LOG_IN if isinstance(error, CREDENTIALS) else f"check the region and the network, then {_AGAIN}"
        raise CloudError(f"cannot {action}: {error}", hint=hint) from error


def _hint(error: ClientError, code: str) -> str:
    if code in _HINTS:
        return _HINTS[code]
    if code.startswith("AccessDenied"):
        return (
            f"allow {error.operation_name} to the credentials of this command (`aws sts get-caller-identity` shows "
            "them): docker/iam/caller.json is what they need"
        )
    if code in THROTTLED:
        return f"the service is busy; {_AGAIN}"
    return _AGAIN
