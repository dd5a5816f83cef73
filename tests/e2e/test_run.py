"""`mlpipe run` from raw rows to compared models, and everything that a run promises afterwards."""

from __future__ import annotations

import json
import subprocess
import sys

from e2e.project import Finished, Project, error_of, hashes


def test_a_run_ends_with_a_table_of_all_models_and_its_path(finished: Finished):
    project, done = finished
    for word in ("small", "large", "accuracy", "macro F1", "samples/s", "parity", "any batch, any length: off by"):
        assert word in done.stdout
    assert f"run 1 (committed): {project.run}" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_tree_of_a_run_is_complete_and_every_unit_is_vouched_for(finished: Finished):
    run = finished[0].run
    for model in ("small", "large"):
        for unit, names in {
            run / "models" / model: {
                "model.pt",
                "model.pt2",
                "state_dict.safetensors",
                "id2label.json",
                "signature.json",
                "parity.json",
                "metrics.json",
                "timing.json",
                "history.jsonl",
                "plots/curves.png",
                "plots/curves.svg",
            },
            run / "inference" / model: {
                "statistics.json",
                "timing.json",
                "predictions.parquet",
                "plots/confusion_matrix.png",
                "plots/confusion_matrix.svg",
            },
        }.items():
            found = hashes(unit)
            assert set(found) == names | {"manifest.json", "_SUCCESS"}
            manifest = json.loads((unit / "manifest.json").read_text())["files"]
            assert {name: record["sha256"] for name, record in manifest.items()} == {
                name: found[name] for name in names
            }
            assert (unit / "_SUCCESS").read_text().strip() == found["manifest.json"]
    top = {path.name for path in run.iterdir()}
    assert {"claim.json", "state.json", "settings.ini", "settings.resolved.json", "run.json", "_SUCCESS"} <= top
    assert list((run / "attempts").iterdir()) == []
    assert (run / "settings.ini").read_text() == (finished[0].folder / "settings.ini").read_text()


def test_the_record_of_a_run_says_what_ran(finished: Finished):
    record = json.loads((finished[0].run / "run.json").read_text())
    assert [job["name"] for job in record["jobs"]] == ["train-small", "train-large", "infer"]
    models = {f"{kind}/{name}" for kind in ("models", "inference") for name in ("small", "large")}
    assert set(record["units"]) == {*models, "yardstick"}
    assert all(job["versions"]["torch"] and job["threads"] == 1 for job in record["jobs"])
    assert len(list((finished[0].tree / "test_uses").iterdir())) == 1
    assert json.loads(finished[0].mlpipe("show", "1", "--json").stdout)["test_openings"] == 1


RELOAD = """
import glob, json, sys
sys.modules["transformers"] = sys.modules["mlpipe"] = None
import pyarrow as pa, pyarrow.parquet as pq, torch
run, prepared = sys.argv[1:]
rows = pa.ipc.open_stream(glob.glob(prepared + "/test/*.arrow")[0]).read_all().to_pylist()
for model_name in ("small", "large"):
    model = torch.jit.load(f"{run}/models/{model_name}/model.pt")
    signature = json.load(open(f"{run}/models/{model_name}/signature.json"))
    labels = json.load(open(f"{run}/models/{model_name}/id2label.json"))
    predictions = pq.read_table(f"{run}/inference/{model_name}/predictions.parquet").to_pylist()
    published = {row["id"]: row for row in predictions}
    some = rows[:20]
    inputs = []
    for spec in signature["inputs"]:
        values = [row[f"{model_name}_{spec['name']}"] for row in some]
        longest = max(map(len, values))
        padded = [value + [spec["padding_value"]] * (longest - len(value)) for value in values]
        inputs.append(torch.tensor(padded, dtype=getattr(torch, spec["dtype"])))
    probabilities = torch.softmax(model(*inputs).double(), 1)
    for row, found in zip(some, probabilities):
        expected = [published[row["id"]][f"probability_{labels[str(k)]}"] for k in range(len(labels))]
        assert max(abs(found - torch.tensor(expected))) < 1e-4
        assert published[row["id"]]["prediction"] == labels[str(int(found.argmax()))]
        assert published[row["id"]]["truth"] == labels[str(row["label"])]
print("reproduced", len(some))
"""


def test_the_exported_models_run_with_torch_alone_and_reproduce_the_predictions(finished: Finished):
    project, _ = finished
    (prepared,) = (project.tree / "data" / "prepared").iterdir()
    command = [sys.executable, "-c", RELOAD, str(project.run), str(prepared)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "reproduced 20\n", done.stderr


def test_runs_and_show_tell_people_and_programs_the_same(finished: Finished):
    project, _ = finished
    (line,) = json.loads(project.mlpipe("runs", "--json").stdout)
    assert line["run_num"] == 1
    assert line["status"] == "committed"
    shown = json.loads(project.mlpipe("show", "1", "--json").stdout)
    assert shown["comparison"]["models"][0]["macro_f1"]["value"] == line["macro_f1"]
    assert set(shown["models"]) == {"small", "large"}
    table = project.mlpipe("show", "1").stdout
    assert f"{line['macro_f1']:.3f}" in table
    assert line["best_model"] in table
    assert "committed" in project.mlpipe("runs").stdout


def test_the_log_of_a_job_that_does_not_exist_is_answered_with_those_that_do(finished: Finished):
    message = error_of(finished[0].mlpipe("logs", "1", "--job", "nope", code=2))
    assert "run 1 has no log of a job nope\n  it has those of infer, train-large, train-small" in message


def test_inferring_a_committed_run_again_verifies_and_changes_nothing(finished_copy: Project):
    before = hashes(finished_copy.run)
    done = finished_copy.mlpipe("infer", "settings.ini", "--run-num", "1")
    assert "run 1 verified: statistics.json and predictions.parquet of small, large" in done.stdout
    after = hashes(finished_copy.run)
    assert {name: after[name] for name in before if not name.startswith("logs/")} == {
        name: value for name, value in before.items() if not name.startswith("logs/")
    }
    assert len(list((finished_copy.tree / "test_uses").iterdir())) == 2
    assert "its test set was opened 2 times" in finished_copy.mlpipe("show", "1").stdout


def test_a_new_run_reuses_the_snapshots_and_equals_the_first_byte_for_byte(finished_copy: Project):
    done = finished_copy.mlpipe("run", "--new")
    assert "prepare: snapshot" in done.stderr
    assert "is reused: nothing that it is made from has changed" in done.stderr
    first, second = hashes(finished_copy.run), hashes(finished_copy.tree / "runs" / "2")
    for model in ("small", "large"):
        for name in (
            "metrics.json",
            "history.jsonl",
            "state_dict.safetensors",
            "parity.json",
            "signature.json",
            "model.pt",
            "model.pt2",
        ):
            assert first[f"models/{model}/{name}"] == second[f"models/{model}/{name}"], name
        for name in (
            "statistics.json",
            "predictions.parquet",
            "plots/confusion_matrix.png",
            "plots/confusion_matrix.svg",
        ):
            assert first[f"inference/{model}/{name}"] == second[f"inference/{model}/{name}"], name
    assert first["comparison.json"] == second["comparison.json"]


def test_a_changed_encode_makes_a_new_snapshot_and_says_why(finished_copy: Project):
    finished_copy.edit("functions.py", "* 7", "* 5")
    done = finished_copy.mlpipe("prepare")
    assert "prepare: splitting and encoding the rows: encode() has changed" in done.stderr
    assert len(list((finished_copy.tree / "data" / "prepared").iterdir())) == 2
    assert len(list((finished_copy.tree / "data" / "reconciled").iterdir())) == 1


def test_changed_data_settings_name_the_key_that_changed(finished_copy: Project):
    done = finished_copy.mlpipe("prepare", "--set", "data.test_fraction=0.3")
    assert "[DATA] TEST_FRACTION has changed from 0.2 to 0.3" in done.stderr
    finished_copy.edit("texts.csv", "apple", "apples")
    assert "texts.csv has changed" in finished_copy.mlpipe("reconcile").stderr


def test_training_and_inference_can_be_two_commands(project: Project):
    trained = project.mlpipe("train", "--set", "experiment.model_names=small")
    assert "run 1: small trained" in trained.stdout
    assert not (project.tree / "test_uses").exists()
    refused = project.mlpipe("infer", code=2)
    assert "has no committed run" in refused.stderr
    assert "--run-num 1" in refused.stderr
    done = project.mlpipe("infer", "--run-num", "1")
    assert "run 1 (committed)" in done.stdout
    assert (project.run / "inference" / "small" / "statistics.json").is_file()
