"""A server that plays Amazon's services on this machine (moto), and what a client has to be told to talk to it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What boto3 is given beside AWS_ENDPOINT_URL: nothing of the machine's own."""


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """The URL of a server with nothing in it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    assert server._server is not None
    server._server.app = one_conditional_write_at_a_time(server._server.app)
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def one_conditional_write_at_a_time(app: WSGIApplication) -> WSGIApplication:
    """moto looks whether a condition holds and then writes; between the two, another thread could do the same."""
    lock = threading.Lock()

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_conditional = "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ
        with lock if is_conditional else contextlib.nullcontext():
            return app(environ, start_response)

    return guarded


def client(service: str, endpoint: str) -> Any:
    """A client of the server, beside what is tested."""
    return boto3.client(
        service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
