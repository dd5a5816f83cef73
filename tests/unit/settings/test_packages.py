"""A tracker without its package is found out before any job starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlpipe.errors import SettingsError
from mlpipe.settings import Tracking
from mlpipe.settings.packages import check_tracker


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which packages are found, as if nothing were installed."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in [name for name in sys.modules if name.partition(".")[0] in ("wandb", "mlflow", "tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard", "mlflow"])
def test_a_tracker_whose_package_is_not_installed_is_refused_with_its_extra(only: Path, tracker: str) -> None:
    with pytest.raises(SettingsError, match=f"TRACKER = {tracker} needs the package {tracker}") as caught:
        check_tracker(Tracking(tracker=tracker))
    assert f"pip install -e '.[{tracker}]'" in caught.value.hint


def test_a_folder_with_the_files_of_a_tracker_is_no_package(only: Path) -> None:
    (only / "wandb").mkdir()
    with pytest.raises(SettingsError, match="needs the package wandb"):
        check_tracker(Tracking(tracker="wandb"))


def test_a_package_is_looked_for_and_not_imported(only: Path) -> None:
    (only / "wandb").mkdir()
    (only / "wandb" / "__init__.py").write_text("raise RuntimeError")
    check_tracker(Tracking(tracker="wandb"))
    check_tracker(Tracking(tracker="none"))
