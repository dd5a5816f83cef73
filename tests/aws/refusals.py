"""Errors as the service sends them: a code, a message, a status."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal; `code` is what boto3's ClientError carries as its Code."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def body(self) -> dict[str, Any]:
        """The reply's body in AWS's JSON form."""
        return {"__type": self.code, "message": self.message}


def invalid(message: str) -> ApiError:
    """A request that the service understands and does not take."""
    return ApiError("ValidationException", message)


def unsupported(what: str) -> ApiError:
    """A request that the service would take, and this fake would have to ignore."""
    return invalid(f"the fake of SageMaker does not know {what}")
