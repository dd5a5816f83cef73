"""What a whole run reaches on real text: banking77 (Casanueva et al., 2020, arXiv 2003.04807), 77 intents."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from e2e.project import Project

from user_functions.pretrained import encoder_folder

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("BANKING77", ROOT / "../shared/data/banking77")).resolve()

SETTINGS = """\
[EXPERIMENT]
EXPERIMENT_NAME = banking77
MODEL_NAMES = minilm
USER_FUNCTIONS = functions.py

[DATA]
SOURCES = {data}/train.csv, {data}/test.csv
TEXT_COLUMN = text

[HYPERPARAMETERS]
EPOCHS = 4
BATCH_SIZE = 32
LEARNING_RATE = 2e-4
WARMUP_RATIO = 0.1

[USER]
ENCODER = {encoder}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "test.csv").is_file(),
        reason="banking77 is not here: the variable BANKING77 names the folder with its train.csv and test.csv",
    ),
]


def test_a_pretrained_encoder_reaches_the_accuracy_that_banking77_allows(tmp_path: Path) -> None:
    project = Project(tmp_path)
    shutil.copyfile(Path(__file__).with_name("banking77_functions.py"), tmp_path / "functions.py")
    (tmp_path / "settings.ini").write_text(SETTINGS.format(data=DATA, encoder=encoder_folder()))
    print(project.mlpipe("run", "settings.ini").stdout)
    run = tmp_path / "storage" / "banking77" / "runs" / "1"
    statistics = json.loads((run / "inference" / "minilm" / "statistics.json").read_text())
    assert statistics["num_rows"] == 3080
    assert len(json.loads((run / "models" / "minilm" / "id2label.json").read_text())) == 77
    assert statistics["accuracy"]["value"] >= 0.91
