"""What S3 has that other storages have not: buckets of others, keys, workspaces that are not the storage itself."""

from __future__ import annotations

import gc
from pathlib import Path

import moto_server
import pytest
from s3_server import Proxy

from mlpipe.errors import IntegrityError, StorageError
from mlpipe.settings import S3
from mlpipe.storage import s3_bucket
from mlpipe.storage.s3 import S3Storage

KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OWNER = "123456789012"


def test_a_storage_may_be_a_whole_bucket(bucket: str):
    storage = S3Storage(f"s3://{bucket}")
    storage.write("a/b", b"1")
    assert (storage.uri, storage.locate("a/b")) == (f"s3://{bucket}", f"s3://{bucket}/a/b")
    assert storage.files("a") == {"b": 1}


def test_markers_of_folders_that_other_tools_make_are_no_files(bucket: str, s3_endpoint: str, tmp_path: Path):
    client = moto_server.client("s3", s3_endpoint)
    for key in ("p/a/", "p/a/b/", "p/a/b/c"):
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    storage = S3Storage(f"s3://{bucket}/p")
    assert storage.files("a") == {"b/c": 0}
    storage.fetch("a", tmp_path / "a")
    assert (tmp_path / "a" / "b" / "c").is_file()


@pytest.mark.parametrize("name", ["../../outside", "/outside", "x/../../outside", "x//y"])
def test_a_key_that_would_be_written_outside_the_folder_is_refused(
    bucket: str, s3_endpoint: str, tmp_path: Path, name: str
):
    moto_server.client("s3", s3_endpoint).put_object(Bucket=bucket, Key=f"p/a/{name}", Body=b"")
    with pytest.raises(StorageError, match="is not a path inside"):
        S3Storage(f"s3://{bucket}/p").fetch("a", tmp_path / "job" / "a")
    assert list(tmp_path.iterdir()) == []


def test_every_write_is_encrypted_and_every_request_names_the_owner(
    bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(s3_bucket, "LARGE", 40 * 1024**2)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(48 * 1024**2)
    (tmp_path / "small").write_bytes(b"s")
    storage = S3Storage(f"s3://{bucket}/p", S3(kms_key_id=KEY, expected_bucket_owner=OWNER))
    storage.write("a", b"a")
    storage.create("claim", b"c")
    storage.store(tmp_path, "attempt")
    storage.publish("attempt", "unit")
    storage.fetch("unit", tmp_path / "fetched")
    storage.delete("unit")
    storage.folders("unit")
    assert (tmp_path / "fetched" / "small").read_bytes() == b"s"
    assert (tmp_path / "fetched" / "large").stat().st_size == 48 * 1024**2
    assert {request.headers.get("x-amz-expected-bucket-owner") for request in proxy.requests} == {OWNER}
    copies = [request for request in proxy.requests if "x-amz-copy-source" in request.headers]
    assert any("uploadId" in request.path for request in copies)
    plain = [request for request in copies if "uploadId" not in request.path]
    assert {request.headers.get("x-amz-source-expected-bucket-owner") for request in plain} == {OWNER}
    writes = [
        request
        for request in proxy.requests
        if (request.method == "PUT" and "uploadId" not in request.path) or request.path.endswith("?uploads")
    ]
    assert len(writes) >= 7
    for request in writes:
        assert request.headers.get("x-amz-server-side-encryption") == "aws:kms", request.path
        assert request.headers.get("x-amz-server-side-encryption-aws-kms-key-id") == KEY


def test_a_download_asks_for_each_file_once(bucket: str, proxy: Proxy, tmp_path: Path):
    storage = S3Storage(f"s3://{bucket}/p")
    for name in "abc":
        storage.write(f"folder/{name}", b"x")
    proxy.requests.clear()
    storage.fetch("folder", tmp_path / "fetched")
    assert sorted((request.method, request.path.partition("?")[0]) for request in proxy.requests) == [
        ("GET", f"/{bucket}"),
        *(("GET", f"/{bucket}/p/folder/{name}") for name in "abc"),
    ]


def test_workspaces_go_with_their_key_and_with_the_storage(bucket: str):
    storage = S3Storage(f"s3://{bucket}/p")
    one, other = storage.workspace("attempts/1"), storage.workspace("attempts/2")
    (one / "file").touch()
    storage.delete("attempts/1")
    assert (one.exists(), other.exists()) == (False, True)
    del storage
    gc.collect()
    assert not other.parents[1].exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"source": "p/x/", "files": []}'])
def test_a_damaged_intent_is_named(bucket: str, content: bytes):
    storage = S3Storage(f"s3://{bucket}/p")
    storage.write("attempt/a", b"")
    storage.write("unit/.publishing.json", content)
    with pytest.raises(IntegrityError, match=r"unit/\.publishing\.json is not what mlpipe wrote") as caught:
        storage.publish("attempt", "unit")
    assert "delete that file" in caught.value.hint
    assert storage.files("unit") == {}


def test_publishing_nothing_is_refused(bucket: str):
    with pytest.raises(StorageError, match=rf"cannot publish s3://{bucket}/p/attempt/: nothing stands there"):
        S3Storage(f"s3://{bucket}/p").publish("attempt", "unit")


def test_the_region_of_the_settings_is_signed_for(bucket: str, proxy: Proxy):
    S3Storage(f"s3://{bucket}", S3(region="eu-central-1")).write("a", b"")
    assert "/eu-central-1/s3/" in proxy.requests[0].headers["Authorization"]
