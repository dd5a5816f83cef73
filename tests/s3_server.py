"""An S3 server for tests (moto), and a proxy before it that breaks what a test wants broken."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Request:
    """A request on its way to the server; a fault may change its headers."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer in the server's place, or in place of what the server said.

    With `promised` the header announces so many bytes, and the connection ends behind the body.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None


def refusal(status: int, code: str, message: str = "because", extra: str = "") -> Answer:
    """S3's answer that something went wrong."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


class DropReplyError(Exception):
    """Raised by a fault: the connection ends without an answer."""


Forward = Callable[[Request], Answer]
Fault = Callable[[Request, Forward], Answer]


@dataclass
class Proxy:
    """Stands between a client and the server; `fault` gets every request and decides what comes back."""

    url: str
    requests: list[Request]
    fault: Fault


def pass_on(request: Request, forward: Forward) -> Answer:
    """The fault that is none."""
    return forward(request)


@contextlib.contextmanager
def running_proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy that passes everything on until it gets a fault."""

    def forward(request: Request) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            response = connection.getresponse()
            body = response.read()
            # The answer to HEAD has the length of what it does not have.
            length = response.getheader("Content-Length")
            promised = int(length) if request.method == "HEAD" and length else None
            kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            return Answer(response.status, body, kept, promised)
        finally:
            connection.close()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            request = Request(self.command, self.path, kept, body)
            proxy.requests.append(request)
            try:
                answer = proxy.fault(request, forward)
            except DropReplyError:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) if answer.promised is None else answer.promised))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(answer.body)
            self.close_connection = self.close_connection or answer.promised is not None

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 (the base class calls them so)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}", [], pass_on)
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


HOP_BY_HOP = {"content-length", "connection", "transfer-encoding", "server", "date"}


def once(fault: Fault, applies: str) -> Fault:
    """A fault for the first request that `applies`: METHOD and the end of the path."""
    method, _, end = applies.partition(" ")
    todo = [True]

    def each(request: Request, forward: Forward) -> Answer:
        if todo and request.method == method and request.path.partition("?")[0].endswith(end):
            todo.clear()
            return fault(request, forward)
        return forward(request)

    return each
