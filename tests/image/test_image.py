"""The images of docker/: built as they are, and training in them as the platform would have it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from image.builder import BASE, PROGRAMS, ROOT, Builder
from job_folder import processing_folder, training_folder

from mlpipe.manifest import parse_manifest, sha256_of

MISSING = [program for program in PROGRAMS if shutil.which(program) is None]

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap and buildah --isolation chroot need root"),
]

MLPIPE, EXAMPLE = "localhost/mlpipe:test", "localhost/example:test"
LEARNS = {"epochs": "20", "learning_rate": "0.1", "batch_size": "8"}


@pytest.fixture(scope="module")
def images() -> Iterator[Builder]:
    """Both images, for all tests of this module: several gigabytes, which go when these have ended."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-images-") as folder:
        builder = Builder(Path(folder))
        try:
            builder.make_base()
            builder.build(MLPIPE, ROOT / "docker" / "Dockerfile", ROOT, {"BASE_IMAGE": BASE})
            example = ROOT / "docker" / "example"
            builder.build(EXAMPLE, example / "Dockerfile", example, {"MLPIPE_IMAGE": MLPIPE})
            yield builder
        finally:
            builder.clear()


def check_model(base: Path) -> None:
    """A complete model came out of the job, and has learned what there was to learn."""
    files = parse_manifest((base / "model" / "manifest.json").read_bytes(), "manifest")
    assert {"model.pt", "state_dict.safetensors", "signature.json", "parity.json", "metrics.json"} <= set(files)
    assert {name: sha256_of(base / "model" / name) for name in files} == {n: r.sha256 for n, r in files.items()}
    metrics = json.loads((base / "model" / "metrics.json").read_bytes())
    assert metrics["validation"]["accuracy"] == 1.0
    assert not (base / "output" / "failure").exists()


@pytest.mark.parametrize("image", [MLPIPE, EXAMPLE])
def test_a_training_job_in_the_image_leaves_a_model(images: Builder, tmp_path: Path, image: str):
    base = training_folder(tmp_path, LEARNS)
    done = images.run(image, "train", base=base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mlpipe-objective: " in done.stdout
    check_model(base)


def test_a_training_job_needs_no_root_where_the_platform_asks_for_none(images: Builder, tmp_path: Path):
    base = training_folder(tmp_path, LEARNS)
    for path in (base, *base.rglob("*")):
        os.chown(path, 1000, 1000)
    done = images.run(MLPIPE, "train", base=base, user="1000")
    assert done.returncode == 0, done.stdout + done.stderr
    check_model(base)
    assert (base / "model" / "model.pt").stat().st_uid == 1000


def test_a_job_that_fails_in_the_image_says_why_where_the_service_looks(images: Builder, tmp_path: Path):
    base = processing_folder(tmp_path, body="raise ValueError('no data today')")
    assert images.run(MLPIPE, "reconcile", base=base).returncode == 3
    assert (base / "output" / "message").read_text().startswith("UserFunctionError: reconcile() failed at functions.py")


@pytest.mark.parametrize("image", [MLPIPE, EXAMPLE])
def test_the_image_says_how_it_is_started(images: Builder, image: str):
    found = images.configuration(image)
    assert found["Entrypoint"] == ["python", "-m", "mlpipe.jobs"]
    assert "Cmd" not in found
    assert "USE_SMDEBUG=0" in found["Env"]


def test_what_is_installed_is_what_is_pinned(images: Builder, tmp_path: Path):
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
    done = images.execute(EXAMPLE, "pip", "list", "--format", "json", base=tmp_path)
    listed = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in json.loads(done.stdout)}
    assert {"torch", "transformers", "boto3", "peft", "wandb"} <= set(listed)
    installed = {name: version.partition("+")[0] for name, version in listed.items() if name not in ("mlpipe", "pip")}
    assert installed == {name: pins.get(name) for name in installed}
