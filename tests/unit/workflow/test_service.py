from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlpipe.errors import PoisonMessage, UsageError, UserFunctionError
from mlpipe.workflow.service import Message, load_service

SERVICE = """
class Invoices:
    retryable = (TimeoutError,)
    def tasks(self): return []
    def pipeline(self, message): return None

ready = Invoices()

class Half:
    def tasks(self): return []

class Odd(Invoices):
    retryable = TimeoutError
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "service_under_test.py"
    path.write_text(SERVICE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield path
    sys.modules.pop("service_under_test", None)


def message(body: str) -> Message:
    return Message("m-1", body, receive_count=1, receipt="r")


@pytest.mark.parametrize("name", ["Invoices", "ready"])
def test_a_class_and_an_object_are_services(module: Path, name: str):
    assert load_service(f"service_under_test:{name}").retryable == (TimeoutError,)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("service_under_test", "write module:name"),
        (":Invoices", "write module:name"),
        ("service_under_tset:Invoices", "no module 'service_under_tset'"),
        ("service_under_test:Invoice", "did you mean 'Invoices'"),
        ("service_under_test:Half", "has no pipeline and no retryable"),
        ("service_under_test:Odd", "has to be a tuple of exception classes"),
    ],
)
def test_what_is_no_service_is_refused_with_the_reason(module: Path, reference: str, expected: str):
    with pytest.raises(UsageError, match=expected):
        load_service(reference)


def test_a_module_that_a_service_misses_is_not_taken_for_the_service(module: Path):
    module.write_text("import not_installed_anywhere")
    with pytest.raises(UserFunctionError, match=r"import of service_under_test failed at .*py:1: ModuleNotFoundError"):
        load_service("service_under_test:Invoices")


def test_a_service_that_cannot_be_made_is_named_with_its_line(module: Path):
    module.write_text("class Invoices:\n    def __init__(self):\n        raise OSError('no model')\n")
    with pytest.raises(UserFunctionError, match=r"Invoices\(\) failed at .*service_under_test.py:3: OSError: no model"):
        load_service("service_under_test:Invoices")


def test_a_body_is_parsed():
    assert message('{"document": "a.pdf"}').json() == {"document": "a.pdf"}


def test_a_body_that_is_not_json_is_poison_and_does_not_show_its_content():
    with pytest.raises(PoisonMessage, match="message m-1 is not JSON") as caught:
        message("secret").json()
    assert "secret" not in str(caught.value)
