from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from mlpipe.report.plots import _draw_lines, save_confusion_matrix, save_curves

HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 2 / epoch,
        "validation_loss": 2.2 / epoch,
        "f1": 1 - 1 / (epoch + 1),
        "accuracy": 0.9,
    }
    for epoch in (1, 2, 3)
]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def texts_of(svg: Path) -> list[str]:
    """The texts of a figure: matplotlib writes each as a comment before its outlines."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    tree = ET.parse(svg, parser)
    return [str(node.text).strip() for node in tree.iter() if node.tag is ET.Comment]


def test_curves_show_losses_metrics_and_the_best_epoch(tmp_path):
    save_curves(HISTORY, tmp_path, objective="f1", best_epoch=2)

    texts = texts_of(tmp_path / "curves.svg")
    assert {"train loss", "validation loss", "f1", "accuracy", "epoch"} <= set(texts)
    assert "Validation: best f1 0.667 in epoch 2" in texts


def test_labels_in_a_script_that_the_font_lacks_are_drawn_without_a_word(tmp_path, recwarn):
    save_confusion_matrix(np.eye(2, dtype=np.int64), ["\u65e5\u672c", "\u4e2d\u6587"], tmp_path)
    assert (tmp_path / "confusion_matrix.png").exists()
    assert not [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)]


def test_curves_of_a_single_epoch_can_be_drawn(tmp_path):
    save_curves(HISTORY[:1], tmp_path, objective="accuracy", best_epoch=1)

    assert "Validation: best accuracy 0.900 in epoch 1" in texts_of(tmp_path / "curves.svg")


def test_an_objective_that_is_a_loss_is_drawn_with_the_scores(tmp_path):
    history = [record | {"log_loss": 2.5 / record["epoch"]} for record in HISTORY]
    save_curves(history, tmp_path, objective="log_loss", best_epoch=3)
    assert "Validation: best log_loss 0.833 in epoch 3" in texts_of(tmp_path / "curves.svg")

    save_curves([{"epoch": 1, "train_loss": 1, "log_loss": 2}], tmp_path, objective="log_loss", best_epoch=1)
    assert "log loss" in texts_of(tmp_path / "curves.svg")


def test_many_curves_have_a_look_of_their_own_each(tmp_path):
    axes = Figure().subplots()
    _draw_lines(axes, [1.0], {f"metric {number}": [0.5] for number in range(13)})
    assert len({(line.get_color(), line.get_marker()) for line in axes.get_lines()}) == 13


@pytest.mark.parametrize("folder", ["curves", "matrix"])
def test_the_same_numbers_give_the_same_bytes(tmp_path, folder):
    for attempt in ("first", "second"):
        if folder == "curves":
            save_curves(HISTORY, tmp_path / attempt, objective="f1", best_epoch=2)
        else:
            save_confusion_matrix(np.array([[5, 1], [0, 7]]), ["a", "b"], tmp_path / attempt)

    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")
    assert {Path(name).suffix for name in files_of(tmp_path / "first")} == {".png", ".svg"}


def test_a_small_confusion_matrix_shows_labels_and_counts(tmp_path):
    save_confusion_matrix(np.array([[5432, 0], [3, 17]]), ["ham", "spam"], tmp_path)

    texts = texts_of(tmp_path / "confusion_matrix.svg")
    assert {"ham", "spam", "5,432", "3", "17", "true label", "predicted label"} <= set(texts)
    assert "0" not in texts
    assert "5,452 rows, 99.9% on the diagonal" in texts


def test_a_large_confusion_matrix_names_every_label_and_has_no_counts(tmp_path):
    labels = [f"intent {i}" for i in range(40)]
    save_confusion_matrix(np.diag(np.arange(40) + 7000), labels, tmp_path)

    texts = texts_of(tmp_path / "confusion_matrix.svg")
    assert set(labels) <= set(texts)
    assert not any(text.startswith("7,0") for text in texts)


def test_no_name_is_cut_off_at_the_border(tmp_path):
    save_confusion_matrix(np.eye(30, dtype=np.int64), ["W" * 32] * 30, tmp_path)

    image = imread(tmp_path / "confusion_matrix.png")[:, :, :3]
    for border in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert np.all(border == 1)


def test_labels_are_shown_as_they_are_but_on_one_line_and_not_endless(tmp_path):
    save_confusion_matrix(np.eye(3, dtype=np.int64), [r"$\frac$", "two\nlines\x00", "long" * 20], tmp_path)

    texts = texts_of(tmp_path / "confusion_matrix.svg")
    assert r"$\frac$" in texts
    assert "two lines" in texts
    assert "long" * 7 + "lon…" in texts


def test_a_label_without_rows_is_drawn_without_colour(tmp_path):
    save_confusion_matrix(np.array([[0, 0], [1, 2]]), ["never", "always"], tmp_path)

    assert "3 rows, 66.7% on the diagonal" in texts_of(tmp_path / "confusion_matrix.svg")


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    save_confusion_matrix(np.array([[5, 1], [0, 7]]), ["a", "b"], tmp_path)

    assert dict(mpl.rcParams) == before
