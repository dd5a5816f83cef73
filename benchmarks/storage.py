"""Files up to S3 and down again: mlpipe's storage beside `aws s3 sync`, against a moto server of its own.

    pip install awscli            # in an environment of its own: it pins another botocore
    .venv/bin/python benchmarks/storage.py [PATH_OF_AWS]

2,000 small files and one of 512 MB. The two take turns, and each one's best round counts, because other work on a
machine only ever slows a round down. A ratio above 1 says that mlpipe took less time. `aws` is timed from its start, as
a user waits for it; mlpipe's storage, which lives in a process that is there already, with the making of its client.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from mlpipe.storage.s3 import S3Storage

ROUNDS = 3
SMALL_FILES = 2_000
LARGE_BYTES = 512 * 1024**2
BUCKET = "benchmark"

SERVER = """
from moto.server import ThreadedMotoServer
import logging, threading
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
threading.Event().wait()
"""


def main() -> None:
    """Print the table."""
    aws = sys.argv[1] if len(sys.argv) > 1 else shutil.which("aws")
    if aws is None:
        print("storage: `aws` is not installed, so there is nothing to compare with: pip install awscli")
        return
    with tempfile.TemporaryDirectory() as folder, running_server():
        workload = {"2,000 small files": many(Path(folder) / "many"), "one of 512 MB": large(Path(folder) / "large")}
        print(f"best of {ROUNDS} rounds, seconds\n{'':28}{'mlpipe':>8}{'aws s3 sync':>13}{'ratio':>7}")
        for name, source in workload.items():
            for direction, (ours, theirs) in compare(source, aws).items():
                print(f"{name + ', ' + direction:28}{ours:8.2f}{theirs:13.2f}{theirs / ours:7.2f}")


def compare(source: Path, aws: str) -> dict[str, tuple[float, float]]:
    """The best times of mlpipe and of `aws`, by direction."""
    best = {direction: (float("inf"), float("inf")) for direction in ("up", "down")}
    for _ in range(ROUNDS):
        for direction, seconds in one_round(source, aws).items():
            best[direction] = (min(best[direction][0], seconds[0]), min(best[direction][1], seconds[1]))
    return best


def one_round(source: Path, aws: str) -> dict[str, tuple[float, float]]:
    """The times of mlpipe and of `aws`, by direction; what came down is what went up."""
    ours, theirs, down = f"s3://{BUCKET}/mlpipe", f"s3://{BUCKET}/aws", source.with_name("down")
    seconds = {
        "up": (
            timed(lambda: S3Storage(ours).store(source, "files")),
            timed(lambda: sync(aws, str(source), f"{theirs}/files")),
        ),
        "down": (
            timed(lambda: S3Storage(ours).fetch("files", down / "mlpipe")),
            timed(lambda: sync(aws, f"{theirs}/files", str(down / "aws"))),
        ),
    }
    for way in ("mlpipe", "aws"):
        assert sizes(down / way) == sizes(source), way
    shutil.rmtree(down)
    for uri in (ours, theirs):
        S3Storage(uri).delete("files")
    return seconds


def sizes(folder: Path) -> dict[str, int]:
    """The size of each file in a folder, by its name."""
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def timed(action: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def sync(aws: str, source: str, destination: str) -> None:
    """`aws s3 sync`, quietly."""
    subprocess.run([aws, "s3", "sync", "--only-show-errors", source, destination], check=True)


def many(folder: Path) -> Path:
    """2,000 files of 1 to 8 kB."""
    folder.mkdir()
    for number in range(SMALL_FILES):
        (folder / f"{number:04}.json").write_bytes(os.urandom(1_000 + 7 * (number % 1_000)))
    return folder


def large(folder: Path) -> Path:
    """One file of 512 MB."""
    folder.mkdir()
    with (folder / "model.pt").open("wb") as file:
        for _ in range(LARGE_BYTES // 1024**2):
            file.write(os.urandom(1024**2))
    return folder


@contextmanager
def running_server() -> Iterator[None]:
    """A server in a process of its own, which the environment names."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        endpoint = process.stdout.readline().strip()
        os.environ |= {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
