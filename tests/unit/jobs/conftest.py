from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mlpipe.jobs.environment import JobContext
from mlpipe.settings import load_settings

FUNCTIONS = """
def reconcile(settings):
    return ROWS

def load_processor(model_name, settings):
    return None

def encode(examples, processor, model_name, settings):
    return {"input_ids": [[len(word) for word in text.split()] for text in examples["text"]]}

def load_model(model_name, id2label, settings):
    raise NotImplementedError

def ordered_input_keys(model_name, settings):
    return ["input_ids"]
"""


@pytest.fixture
def data_job(tmp_path) -> Callable[..., JobContext]:
    """Makes the context of a reconcile or prepare job, with the user's code and settings in real files.

    `rows` is what reconcile() returns, `code` replaces some of the functions, `data` is the section DATA.
    """

    def context(
        rows: object = (),
        *,
        code: str = "",
        data: str = "",
        models: str = "m",
        channels: Mapping[str, Path] | None = None,
        name: str = "output",
        seed: int = 42,
    ) -> JobContext:
        folder = tmp_path / name
        (folder / "code").mkdir(parents=True)
        (folder / "output").mkdir()
        (folder / "code" / "my_functions.py").write_text(f"ROWS = {rows!r}\n{FUNCTIONS}\n{code}")
        experiment = f"[EXPERIMENT]\nEXPERIMENT_NAME = e\nMODEL_NAMES = {models}\nSEED = {seed}\n"
        (folder / "settings.ini").write_text(f"{experiment}[DATA]\n{data}\n")
        return JobContext(
            step="",
            settings=load_settings(folder / "settings.ini", environment={}),
            code=folder / "code",
            package="my_functions",
            channels=channels or {},
            channels_sha256="",
            output=folder / "output",
            checkpoints=folder / "checkpoints",
            output_data=folder / "output_data",
            model_name=None,
            arguments={},
            threads=1,
        )

    return context
