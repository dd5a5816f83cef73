"""A server that plays the API of Amazon SageMaker and really runs the jobs it is asked for: see README.md."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import moto_server
from aws.faults import Fault, LostReply, Refuse, Script
from aws.logs import forget_logs
from aws.objects import Objects
from aws.platform import Platform
from aws.refusals import ApiError
from aws.service import Service

COMMAND = (sys.executable, "-m", "mlpipe.jobs")


@dataclass(frozen=True)
class Request:
    """One call as it went over the wire, whatever became of it."""

    operation: str
    body: dict[str, Any]


class FakeSageMaker:
    """The service, from `with` to its end, which ends every job.

    `endpoint` has S3 and CloudWatch Logs, where the logs of earlier fakes' jobs are deleted at the start; jobs run
    below `root`; `command` plays the image's ENTRYPOINT; `grace` is the time between SIGTERM and SIGKILL, in seconds
    (120 on the platform).
    """

    def __init__(self, endpoint: str, root: Path, command: Sequence[str] = COMMAND, grace: float = 10.0) -> None:
        self.requests: list[Request] = []
        self._script = Script()
        objects = Objects(moto_server.client("s3", endpoint))
        logs = moto_server.client("logs", endpoint)
        self._platform = Platform(objects, logs, self._script, tuple(command), root, grace)
        self._service = Service(self._platform)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.fake = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """What AWS_ENDPOINT_URL_SAGEMAKER has to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def script(self, *faults: Fault) -> None:
        """Let these faults happen."""
        self._script.add(*faults)

    @property
    def pending_faults(self) -> list[Fault]:
        """The scripted faults that have not happened."""
        return self._script.pending()

    def bodies(self, operation: str) -> list[dict[str, Any]]:
        """The bodies of all calls of an operation, in their order."""
        return [request.body for request in self.requests if request.operation == operation]

    def __enter__(self) -> FakeSageMaker:
        forget_logs(self._platform.logs)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._platform.close()

    def answer(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """The status and body of the reply to a call; None where the reply gets lost."""
        self.requests.append(Request(operation, body))
        refusal = self._script.take(Refuse, operation)
        try:
            if refusal is not None:
                raise ApiError(refusal.code, refusal.message, refusal.status)
            status, reply = 200, self._service.call(operation, body)
        except ApiError as error:
            status, reply = error.status, error.body()
        return None if self._script.take(LostReply, operation) else (status, reply)


class _Handler(BaseHTTPRequestHandler):
    """AWS JSON 1.1: the operation in a header, documents in and out."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").removeprefix("SageMaker.")
        if not self.headers.get("Authorization"):
            self._send(403, ApiError("MissingAuthenticationTokenException", "Missing Authentication Token").body())
            return
        answer = self.server.fake.answer(operation, json.loads(content))  # type: ignore[attr-defined]
        if answer is not None:
            self._send(*answer)

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
