"""What S3 and the network do wrong, and what comes of it: success, or one clear error in bounded time."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.endpoint
import moto_server
import pytest
from s3_server import Answer, DropReplyError, Forward, Proxy, Request, once, refusal

from mlpipe.errors import StorageError
from mlpipe.manifest import write_manifest
from mlpipe.runs import ExperimentTree
from mlpipe.storage.claims import claim_run, current_owner, is_owner, run_numbers
from mlpipe.storage.s3 import S3Storage
from mlpipe.storage.units import is_committed

pytestmark = pytest.mark.faults

TREE = ExperimentTree("experiment")
PRINT = {"settings": "s", "functions": "f", "snapshot": "p"}


class Waits:
    """Stands in for the clock that botocore sleeps by between two attempts: adds up instead of waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setattr(botocore.endpoint, "time", waits)
    return waits


@pytest.fixture
def uri(bucket: str) -> str:
    return f"s3://{bucket}/some/prefix"


def race(uri: str, rounds: int) -> None:
    """8 racers, each with a storage of its own, claim a number in every round."""
    storages = [S3Storage(uri) for _ in range(8)]
    start = threading.Barrier(8, timeout=60)  # seconds: one that fails must not keep the others waiting

    def claims_of(storage: S3Storage) -> list[int]:
        found = []
        for _ in range(rounds):
            start.wait()
            claim = claim_run(storage, TREE, PRINT, new=True, run_num=None)
            assert is_owner(storage, claim)
            found.append(claim.run.run_num)
        return found

    with ThreadPoolExecutor(8) as pool:
        numbers = sorted(number for found in pool.map(claims_of, storages) for number in found)
    assert numbers == list(range(1, 8 * rounds + 1))
    assert run_numbers(storages[0], TREE) == numbers


def test_eight_racers_get_distinct_numbers_without_a_gap(uri: str):
    race(uri, 5)


@pytest.mark.slow
def test_eight_racers_get_distinct_numbers_without_a_gap_in_200_rounds(uri: str):
    race(uri, 200)


def drop_reply(request: Request, forward: Forward) -> Answer:
    """The request arrives, and its reply does not."""
    forward(request)
    raise DropReplyError


def test_a_claim_whose_reply_is_lost_is_still_the_own(uri: str, proxy: Proxy, waits: Waits):
    storage = S3Storage(uri)
    proxy.fault = once(drop_reply, "PUT runs/1/claim.json")
    claim = claim_run(storage, TREE, PRINT, new=False, run_num=None)
    assert (claim.run.run_num, claim.is_resumed) == (1, False)
    assert current_owner(storage, claim.run) == claim.owner
    assert run_numbers(storage, TREE) == [1]
    assert len([r for r in proxy.requests if r.method == "PUT" and r.path.endswith("claim.json")]) == 2


def test_a_claim_that_another_process_made_meanwhile_is_not_the_own(uri: str, proxy: Proxy, waits: Waits):
    storage = S3Storage(uri)

    def overtaken(request: Request, forward: Forward) -> Answer:
        forward(Request(request.method, request.path, {"Authorization": request.headers["Authorization"]}, b"other"))
        raise DropReplyError

    proxy.fault = once(overtaken, "PUT runs/1/claim.json")
    assert claim_run(storage, TREE, PRINT, new=True, run_num=None).run.run_num == 2


def test_a_replacement_whose_reply_is_lost_was_made(uri: str, proxy: Proxy, waits: Waits):
    storage = S3Storage(uri)
    assert storage.replace("production.json", b"one", None)
    proxy.fault = once(drop_reply, "PUT production.json")
    assert storage.replace("production.json", b"two", b"one")
    assert storage.read("production.json") == b"two"


def test_what_was_removed_meanwhile_is_not_replaced(uri: str, proxy: Proxy, s3_endpoint: str, bucket: str):
    storage = S3Storage(uri)
    storage.write("production.json", b"one")

    def removed(request: Request, forward: Forward) -> Answer:
        moto_server.client("s3", s3_endpoint).delete_object(Bucket=bucket, Key="some/prefix/production.json")
        return forward(request)

    proxy.fault = once(removed, "PUT production.json")
    assert not storage.replace("production.json", b"two", b"one")
    assert not storage.exists("production.json")


def test_a_conflict_on_the_claim_is_repeated(uri: str):
    storage = S3Storage(uri)
    conflicts: list[object] = [1, 2, 3]

    def conflict(request: object, **_arguments: object) -> object:
        if conflicts:
            conflicts.pop()
            return s3_response(409, "ConditionalRequestConflict")
        return None

    storage.create("first", b"")
    storage._bucket._client.meta.events.register("before-send.s3.PutObject", conflict)
    assert claim_run(storage, TREE, PRINT, new=False, run_num=None).run.run_num == 1
    assert conflicts == []


def s3_response(status: int, code: str) -> object:
    """What botocore would have read from the wire."""
    answer = refusal(status, code)

    class Raw:
        def stream(self, *_arguments: object, **_more: object):
            yield answer.body

    return botocore.awsrequest.AWSResponse("http://localhost", status, answer.headers, Raw())


def test_a_conflict_that_never_ends_is_an_error(uri: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch):
    storage = S3Storage(uri)
    storage.create("first", b"")
    proxy.fault = lambda request, forward: refusal(409, "ConditionalRequestConflict")
    monkeypatch.setattr("mlpipe.storage.s3_bucket.time", Waits())
    with pytest.raises(StorageError, match=rf"cannot create {uri}/a: ConditionalRequestConflict"):
        storage.create("a", b"a")
    assert len(proxy.requests) - 1 >= 8


@pytest.mark.parametrize("condition", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_a_condition_is_refused_before_the_first_claim(uri: str, proxy: Proxy, condition: str):
    def ignorant(request: Request, forward: Forward) -> Answer:
        request.headers = {name: value for name, value in request.headers.items() if name != condition}
        return forward(request)

    proxy.fault = ignorant
    storage = S3Storage(uri)
    for _ in range(2):
        with pytest.raises(StorageError, match=rf"overwrites an object in spite of {condition},") as caught:
            claim_run(storage, TREE, PRINT, new=False, run_num=None)
    assert "choose another [EXPERIMENT] STORAGE" in caught.value.hint
    assert storage.folders("experiment") == []


def begun_now(request: Request, forward: Forward) -> Answer:
    """The server says of every upload that it was begun in 2010."""
    answer = forward(request)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z").encode()
    body = re.sub(rb"<Initiated>[^<]*</Initiated>", b"<Initiated>" + now + b"</Initiated>", answer.body)
    return replace(answer, body=body)


def test_the_first_claim_aborts_uploads_that_nobody_can_be_at_any_more(uri: str, bucket: str, s3_endpoint: str):
    client = moto_server.client("s3", s3_endpoint)
    client.create_multipart_upload(Bucket=bucket, Key="some/prefix/a")
    S3Storage(uri).create("b", b"")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


UPLOAD = """
import sys
from pathlib import Path
from mlpipe.storage.s3 import S3Storage
S3Storage(sys.argv[1]).store(Path(sys.argv[2]), "attempts/x/model")
"""


def test_a_kill_within_an_upload_leaves_no_unit_and_its_orphan_is_aborted_later(
    uri: str, proxy: Proxy, bucket: str, s3_endpoint: str, tmp_path: Path
):
    model = tmp_path / "model"
    model.mkdir()
    with (model / "model.pt").open("wb") as file:
        file.truncate(64 * 1024**2)
    (model / "_SUCCESS").touch()
    write_manifest(model)
    part, killed = threading.Event(), threading.Event()

    def hold(request: Request, forward: Forward) -> Answer:
        if "partNumber=2" in request.path:
            part.set()
            killed.wait()
            raise DropReplyError
        return forward(request)

    proxy.fault = hold
    process = subprocess.Popen([sys.executable, "-c", UPLOAD, uri, str(model)])
    part.wait()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    killed.set()

    proxy.fault = begun_now
    storage = S3Storage(uri)
    assert "model.pt" not in storage.files("attempts/x/model")
    assert not is_committed(storage, "models/m")
    client = moto_server.client("s3", s3_endpoint)
    other = client.create_multipart_upload(Bucket=bucket, Key="some/prefix-of-another/a")["UploadId"]
    storage.create("a", b"")
    assert storage.abort_orphans(timedelta(hours=1)) == []
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 2
    assert storage.abort_orphans(timedelta()) == [f"{uri}/attempts/x/model/model.pt"]
    assert [left["UploadId"] for left in client.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [other]


def test_two_refusals_for_now_are_got_over(uri: str, proxy: Proxy, waits: Waits):
    storage = S3Storage(uri)
    refused = [1, 2]

    def slow_down(request: Request, forward: Forward) -> Answer:
        return refusal(503, "SlowDown") if refused and refused.pop() else forward(request)

    proxy.fault = slow_down
    storage.write("a", b"a")
    assert storage.read("a") == b"a"
    assert len(waits.seconds) == 2


@pytest.mark.parametrize("action", ["read", "write", "list", "store", "create"])
def test_a_storm_of_errors_ends_after_eight_attempts_in_one_error(
    uri: str, proxy: Proxy, waits: Waits, tmp_path: Path, action: str
):
    storage = S3Storage(uri)
    storage.create("first", b"")
    (tmp_path / "a").touch()
    proxy.fault = lambda request, forward: refusal(500, "InternalError")
    before = len(proxy.requests)
    calls = {
        "read": lambda: storage.read("a"),
        "write": lambda: storage.write("a", b"a"),
        "list": lambda: storage.files("a"),
        "store": lambda: storage.store(tmp_path / "a", "a"),
        "create": lambda: storage.create("a", b"a"),
    }
    with pytest.raises(StorageError, match=rf"cannot \w+ {uri}/a/?: InternalError: because") as caught:
        calls[action]()
    assert "run the same command again" in caught.value.hint
    assert len(proxy.requests) - before == 8
    assert sum(waits.seconds) < 90


@pytest.mark.parametrize("key", ["a", "folder/a"])
def test_an_answer_that_breaks_off_is_read_again(uri: str, proxy: Proxy, waits: Waits, tmp_path: Path, key: str):
    storage = S3Storage(uri)
    content = bytes(range(256)) * 40
    storage.write(key, content)

    def truncated(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        return Answer(answer.status, answer.body[:1_000], answer.headers, promised=len(answer.body))

    proxy.fault = once(truncated, f"GET {key}")
    if key == "a":
        assert storage.read(key) == content
    else:
        storage.fetch("folder", tmp_path / "fetched")
        assert (tmp_path / "fetched" / "a").read_bytes() == content


@pytest.mark.parametrize("way", ["read", "fetch"])
def test_an_answer_that_always_breaks_off_is_one_error(uri: str, proxy: Proxy, waits: Waits, tmp_path: Path, way: str):
    storage = S3Storage(uri)
    storage.write("folder/a", b"content")

    def truncated(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        if request.path.endswith("/a"):
            return Answer(answer.status, answer.body[:3], answer.headers, promised=len(answer.body))
        return answer

    proxy.fault = truncated
    with pytest.raises(StorageError, match=rf"cannot read {uri}/folder/a: "):
        storage.read("folder/a") if way == "read" else storage.fetch("folder", tmp_path / "fetched")
    assert len([request for request in proxy.requests if request.method == "GET" and request.path.endswith("/a")]) == 8


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (403, "AccessDenied", "allow s3:PutObject"),
        (400, "ExpiredToken", "log in again"),
        (403, "RequestTimeTooSkewed", "set the clock of this machine"),
        (403, "InvalidAccessKeyId", "valid credentials"),
        (403, "SignatureDoesNotMatch", "valid credentials"),
        (404, "NoSuchBucket", "create the bucket, or correct [EXPERIMENT] STORAGE"),
        (400, "KMS.NotFoundException", "check [S3] KMS_KEY_ID"),
        (501, "NotImplemented", "choose another STORAGE"),
    ],
)
def test_a_refusal_for_good_names_action_bucket_key_and_fix_and_is_not_repeated(
    uri: str, proxy: Proxy, waits: Waits, status: int, code: str, fix: str
):
    storage = S3Storage(uri)
    proxy.fault = lambda request, forward: refusal(status, code)
    with pytest.raises(StorageError, match=rf"cannot write {uri}/a/b: {code}: because") as caught:
        storage.write("a/b", b"")
    assert fix in caught.value.hint
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("code", ["AuthorizationHeaderMalformed", "IllegalLocationConstraintException"])
def test_a_bucket_in_another_region_is_named_with_its_region(uri: str, proxy: Proxy, code: str):
    storage = S3Storage(uri)
    proxy.fault = lambda request, forward: refusal(400, code, extra="<Region>eu-west-1</Region>")
    with pytest.raises(
        StorageError, match=rf"cannot write {uri}/a: {code}.*the bucket's region is eu-west-1"
    ) as caught:
        storage.write("a", b"")
    assert "[S3] REGION" in caught.value.hint
    assert len(proxy.requests) <= 2


def test_a_refused_look_is_no_absence(uri: str, proxy: Proxy):
    storage = S3Storage(uri)
    proxy.fault = lambda request, forward: Answer(403)
    with pytest.raises(StorageError, match=rf"cannot look for {uri}/a: 403") as caught:
        storage.exists("a")
    assert "s3:ListBucket" in caught.value.hint


def test_one_refused_deletion_among_many_is_an_error(uri: str, proxy: Proxy):
    storage = S3Storage(uri)
    storage.write("a/b", b"")
    body = b"<DeleteResult><Error><Key>some/prefix/a/b</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    proxy.fault = once(lambda request, forward: Answer(200, body, {"Content-Type": "application/xml"}), "POST ")
    with pytest.raises(StorageError, match=rf"cannot delete {uri}/a/b: AccessDenied") as caught:
        storage.delete("a")
    assert "s3:DeleteObject" in caught.value.hint


def test_a_bucket_that_does_not_exist_is_named(bucket: str):
    with pytest.raises(StorageError, match=rf"cannot list s3://{bucket}-other/a/: NoSuchBucket") as caught:
        S3Storage(f"s3://{bucket}-other").files("a")
    assert "create the bucket" in caught.value.hint


def test_missing_credentials_are_asked_for(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match=rf"cannot read {uri}/a: Unable to locate credentials") as caught:
        S3Storage(uri).read("a")
    assert "aws configure" in caught.value.hint


def test_a_profile_that_does_not_exist_is_named(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match=r"cannot open s3://.*nobody") as caught:
        S3Storage(uri)
    assert "aws configure" in caught.value.hint


def test_a_server_that_does_not_answer_is_an_error_in_bounded_time(
    uri: str, waits: Waits, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=rf"cannot read {uri}/a: Could not connect") as caught:
        S3Storage(uri).read("a")
    assert "AWS_ENDPOINT_URL" in caught.value.hint
    assert len(waits.seconds) == 7
    assert sum(waits.seconds) < 90
