"""What S3 refuses, as a StorageError: the action, the bucket and key, what the service said, and what to do about it.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import RetriesExceededError

from mlpipe.errors import StorageError

ABSENT = ("NoSuchKey", "404", "NotFound")
CONFLICT = ("ConditionalRequestConflict", "OperationAborted", "409")
PRECONDITION = ("PreconditionFailed", "412")

_PERMISSIONS = {
    "look for": "s3:GetObject on it and s3:ListBucket on the bucket",
    "read": "s3:GetObject on it and s3:ListBucket on the bucket",
    "list": "s3:ListBucket on the bucket",
    "write": "s3:PutObject and s3:AbortMultipartUpload on it",
    "create": "s3:PutObject on it",
    "publish": "s3:GetObject and s3:PutObject on it",
    "delete": "s3:DeleteObject on it",
    "abort uploads below": "s3:ListBucketMultipartUploads on the bucket and s3:AbortMultipartUpload below it",
}
"""What each action needs, by the name that messages give it."""

_AGAIN = "run the same command again: what is committed stays"
LOG_IN = "give this command valid credentials (`aws configure`, `aws sso login`, or the role of the machine)"
_REGION = "the bucket is in another region: write it to [S3] REGION"

_HINTS = {
    "NoSuchBucket": "create the bucket, or correct [EXPERIMENT] STORAGE",
    "NoSuchKey": "check [EXPERIMENT] STORAGE",
    "ExpiredToken": "the credentials have expired: log in again (`aws sso login`), then run the same command again",
    "InvalidAccessKeyId": LOG_IN,
    "InvalidToken": LOG_IN,
    "SignatureDoesNotMatch": LOG_IN,
    "RequestTimeTooSkewed": "set the clock of this machine: it differs from the service's by more than 15 minutes",
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "NotImplemented": "this store lacks what claims need, conditional writes: choose another STORAGE",
}
"""What to do, by the service's code."""

CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.SSOError,
    boto.TokenRetrievalError,
)
"""What botocore raises where it has no credentials, or none that can be used."""

_DISK_FULL = "the disk is full: free space there, or name another folder in the variable TMPDIR"


@contextlib.contextmanager
def reported(action: str, place: str) -> Iterator[None]:
    """Turn what boto3 and the local disk raise into a StorageError that names the action and the place."""
    try:
        yield
    except ClientError as error:
        raise StorageError(f"cannot {action} {place}: {_reason(error)}", hint=_hint(action, error)) from error
    except RetriesExceededError as error:
        raise StorageError(f"cannot {action} {place}: {error.last_exception}", hint=_AGAIN) from error
    except BotoCoreError as error:
        hint = LOG_IN if isinstance(error, CREDENTIALS) else f"check the network and AWS_ENDPOINT_URL, then {_AGAIN}"
        raise StorageError(f"cannot {action} {place}: {error}", hint=hint) from error
    except OSError as error:
        hint = _DISK_FULL if error.errno == errno.ENOSPC else "look at this file"
        raise StorageError(
            f"cannot {action} {place}: {error.strerror or error}: {error.filename or 'a local file'}", hint=hint
        ) from error


def code_of(error: ClientError) -> str:
    """The service's code; the HTTP status where an answer without a body carries none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: StorageError) -> bool:
    """True where the service said that there is no such object."""
    return isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in ABSENT


def _reason(error: ClientError) -> str:
    details = error.response.get("Error", {})
    region = details.get("Region") or error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(
        "x-amz-bucket-region"
    )
    said = f"{code_of(error)}: {details.get('Message') or 'no reason given'}"
    return f"{said} (the bucket's region is {region})" if region else said


def _hint(action: str, error: ClientError) -> str:
    code = code_of(error)
    if code in _HINTS:
        return _HINTS[code]
    if code in ("AccessDenied", "403", "Forbidden"):
        needed = _PERMISSIONS[action]
        return (
            f"allow {needed} to the credentials of this command (`aws sts get-caller-identity` shows them); with [S3] "
            "EXPECTED_BUCKET_OWNER, the bucket has to belong to that account"
        )
    if code.startswith("KMS."):
        return "check [S3] KMS_KEY_ID, and allow kms:GenerateDataKey and kms:Decrypt on it"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return f"the service is in trouble: {_AGAIN}" if status >= 500 or code == "SlowDown" else "check [S3] and STORAGE"
