"""Publications in a bucket that die, race, or are left by everybody: one of them is completed, none is mixed."""

from __future__ import annotations

from pathlib import Path

import moto_server
import pytest
from s3_server import Answer, Forward, Proxy, Request, once, refusal

from mlpipe.errors import StorageError
from mlpipe.manifest import write_manifest
from mlpipe.runs import ExperimentTree
from mlpipe.storage.s3 import S3Storage
from mlpipe.storage.units import commit

pytestmark = pytest.mark.faults

TREE = ExperimentTree("experiment")
PRINT = {"settings": "s", "functions": "f", "snapshot": "p"}


@pytest.fixture
def uri(bucket: str) -> str:
    return f"s3://{bucket}/some/prefix"


def make_output(storage: S3Storage, folder: Path, key: str) -> None:
    (folder / "plots").mkdir(parents=True)
    (folder / "model.pt").write_text(key)
    (folder / "plots" / "a.svg").write_text(key)
    write_manifest(folder)
    storage.store(folder, key)


@pytest.mark.parametrize("is_executed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_publication_that_died_at_any_request_is_completed_by_the_next_and_never_mixed(
    uri: str, proxy: Proxy, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_executed: bool
):
    dying, storage = S3Storage(uri), direct(uri, s3_endpoint, monkeypatch)
    for died_at in range(1, 100):
        first, second, unit = (f"{died_at}/{name}" for name in ("first", "second", "unit"))
        for key in (first, second):
            make_output(storage, tmp_path / key, key)
        start = len(proxy.requests)

        def die(request: Request, forward: Forward, at: int = start + died_at) -> Answer:
            if len(proxy.requests) < at or (is_executed and len(proxy.requests) == at):
                return forward(request)
            return refusal(403, "AccessDenied")

        proxy.fault = die
        try:
            commit(dying, first, unit)
        except StorageError:
            pass
        else:
            break
        committed = commit(storage, second, unit)
        content = {name: committed.read(name) for name in committed.files}
        assert content["model.pt"] == content["plots/a.svg"]
        assert set(storage.files(unit)) == {*content, "manifest.json", "_SUCCESS"}
        assert storage.files(second) == {}
    assert died_at > 15


def test_a_publication_that_ended_just_before_another_began_is_left_alone(
    uri: str, proxy: Proxy, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    slow, fast = S3Storage(uri), direct(uri, s3_endpoint, monkeypatch)
    for name in ("slow", "fast"):
        make_output(fast, tmp_path / name, f"attempt/{name}")

    def overtaken(request: Request, forward: Forward) -> Answer:
        commit(fast, "attempt/fast", "models/m")
        return forward(request)

    proxy.fault = once(overtaken, "PUT models/m/.publishing.json")
    unit = commit(slow, "attempt/slow", "models/m")
    assert unit.read("model.pt") == b"attempt/fast"
    assert {key for key in keys(uri, s3_endpoint) if "publishing" in key} == set()


def test_a_publication_that_another_process_carries_out_as_well_is_the_own(
    uri: str, proxy: Proxy, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    slow, fast = S3Storage(uri), direct(uri, s3_endpoint, monkeypatch)
    for name in ("slow", "fast"):
        make_output(fast, tmp_path / name, f"attempt/{name}")

    def helped(request: Request, forward: Forward) -> Answer:
        assert commit(fast, "attempt/fast", "models/m").read("model.pt") == b"attempt/slow"
        return forward(request)

    proxy.fault = once(helped, "PUT models/m/model.pt")
    unit = commit(slow, "attempt/slow", "models/m")
    assert unit.read("plots/a.svg") == b"attempt/slow"
    assert {key.partition("prefix/")[2] for key in keys(uri, s3_endpoint)} == {
        f"models/m/{name}" for name in (*unit.files, "manifest.json", "_SUCCESS")
    }


def direct(uri: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    """The same storage without the proxy."""
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        return S3Storage(uri)


def keys(uri: str, endpoint: str) -> set[str]:
    """Every key of the bucket."""
    listed = moto_server.client("s3", endpoint).list_objects_v2(Bucket=uri.split("/")[2])
    return {entry["Key"] for entry in listed["Contents"]}


def test_a_publication_that_nobody_can_carry_out_any_more_is_replaced(uri: str, proxy: Proxy, tmp_path: Path):
    storage = S3Storage(uri)
    for name in ("first", "second"):
        storage.write(f"attempt/{name}/a", name.encode())
        storage.write(f"attempt/{name}/_SUCCESS", name.encode())
    proxy.fault = once(lambda request, forward: refusal(403, "AccessDenied"), "PUT models/m/a")
    with pytest.raises(StorageError):
        storage.publish("attempt/first", "models/m")
    storage.delete("attempt/first")
    assert storage.publish("attempt/second", "models/m")
    assert storage.read("models/m/a") == b"second"
