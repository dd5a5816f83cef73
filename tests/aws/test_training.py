"""Training jobs of the fake: what a container finds, and what becomes of what it leaves."""

from __future__ import annotations

import json

from aws.conftest import MakeAccount
from aws.requests import channel, spot_request, training_request

REPORT = """
files = sorted(path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file())
documents = {path.name: json.loads(path.read_text()) for path in (base / "input/config").iterdir()}
found = {"files": files, "arguments": sys.argv[1:], "environment": dict(os.environ), "documents": documents}
(base / "model" / "found.json").write_text(json.dumps(found))
(base / "output/data" / "history.txt").write_text("kept")
print("one line")
"""


def test_a_container_finds_what_the_platform_writes_and_nothing_else(make_account: MakeAccount):
    account = make_account(REPORT)
    account.put({"data/train/a/1.txt": b"1", "data/train/2.txt": b"2"})
    done = account.train(
        training_request(
            account.bucket,
            HyperParameters={"epochs": "2", "quoted": 'a "b" $c'},
            InputDataConfig=[channel("train", f"s3://{account.bucket}/data/train/")],
            Environment={"OMP_NUM_THREADS": "1"},
        )
    )
    assert done["TrainingJobStatus"] == "Completed", done
    found = json.loads(account.objects("out/job/output/model/")["found.json"])
    assert found["arguments"] == ["train"]
    assert [name for name in found["files"] if name.startswith("input/data")] == [
        "input/data/train/2.txt",
        "input/data/train/a/1.txt",
    ]
    assert found["documents"]["hyperparameters.json"] == {"epochs": "2", "quoted": 'a "b" $c'}
    assert found["documents"]["inputdataconfig.json"]["train"]["TrainingInputMode"] == "File"
    assert found["documents"]["resourceconfig.json"]["hosts"] == ["algo-1"]
    platform = {"TRAINING_JOB_NAME", "TRAINING_JOB_ARN", "AWS_REGION", "OMP_NUM_THREADS", "SAGEMAKER_BASE_DIR"}
    assert set(found["environment"]) - {"LC_CTYPE"} == platform | {"PATH", "HOME", "PYTHONPATH"}


def test_results_logs_times_and_secondary_statuses_are_told(make_account: MakeAccount):
    account = make_account(REPORT)
    done = account.train(training_request(account.bucket))
    assert set(account.objects("out/")) == {"job/output/model/found.json", "job/output/data/history.txt"}
    assert done["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{account.bucket}/out/job/output/model"
    ((stream, lines),) = account.log("job").items()
    assert stream.startswith("job/algo-1-")
    assert lines == ["one line"]
    statuses = [transition["Status"] for transition in done["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert done["CreationTime"] <= done["TrainingStartTime"] <= done["TrainingEndTime"] <= done["LastModifiedTime"]
    assert done["BillableTimeInSeconds"] == done["TrainingTimeInSeconds"] >= 1


def test_an_archive_is_made_where_nothing_else_is_asked_for(make_account: MakeAccount):
    account = make_account(REPORT)
    done = account.train(
        training_request(account.bucket, OutputDataConfig={"S3OutputPath": f"s3://{account.bucket}/out"})
    )
    assert set(account.objects("out/job/output/")) == {"model.tar.gz", "output.tar.gz"}
    assert done["ModelArtifacts"]["S3ModelArtifacts"].endswith("/out/job/output/model.tar.gz")


def test_a_failed_container_tells_its_reason_and_leaves_no_model(make_account: MakeAccount):
    account = make_account(
        REPORT + "(base / 'output/failure').write_text('DataError: no rows' + 'x' * 2000); sys.exit(3)"
    )
    done = account.train(training_request(account.bucket))
    assert done["TrainingJobStatus"] == done["SecondaryStatus"] == "Failed"
    assert done["FailureReason"].startswith("AlgorithmError: DataError: no rowsxxx")
    assert done["FailureReason"].endswith(", exit code: 3")
    assert len(done["FailureReason"]) == 1024
    assert set(account.objects("out/")) == {"job/output/data/history.txt"}


def test_a_killed_container_has_the_exit_code_that_docker_gives_it(make_account: MakeAccount):
    account = make_account("os.kill(os.getpid(), signal.SIGKILL)")
    assert account.train(training_request(account.bucket))["FailureReason"] == "AlgorithmError: , exit code: 137"


def test_a_missing_input_fails_the_job_before_it_starts(make_account: MakeAccount):
    account = make_account("print('never')")
    inputs = [channel("train", f"s3://{account.bucket}/nothing/")]
    done = account.train(training_request(account.bucket, InputDataConfig=inputs))
    assert done["TrainingJobStatus"] == "Failed"
    assert "No S3 objects found under S3 URL" in done["FailureReason"]


def test_a_prefix_without_a_slash_brings_what_only_begins_like_it(make_account: MakeAccount):
    account = make_account(REPORT)
    account.put({"run1/a.txt": b"1", "run10/b.txt": b"2"})
    account.train(training_request(account.bucket, InputDataConfig=[channel("train", f"s3://{account.bucket}/run1")]))
    found = json.loads(account.objects("out/job/output/model/")["found.json"])
    assert [name for name in found["files"] if "input/data/" in name] == [
        "input/data/train/a.txt",
        "input/data/train/run10/b.txt",
    ]


def test_a_stopped_job_gets_sigterm_and_its_model_is_uploaded(make_account: MakeAccount):
    account = make_account("""
        def stop(*_):
            (base / "model" / "half.txt").write_text("half")
            sys.exit(1)
        signal.signal(signal.SIGTERM, stop)
        print("ready")
        time.sleep(60)
    """)
    account.sagemaker.create_training_job(**training_request(account.bucket))
    account.wait_for_line("job", "ready")
    account.sagemaker.stop_training_job(TrainingJobName="job")
    done = account.ended("Training", "job")
    assert done["TrainingJobStatus"] == done["SecondaryStatus"] == "Stopped"
    assert set(account.objects("out/job/output/model/")) == {"half.txt"}


def test_a_job_that_ignores_sigterm_is_killed(make_account: MakeAccount):
    account = make_account("signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(60)", grace=0.1)
    done = account.train(training_request(account.bucket, StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_checkpoints_follow_the_folder_and_come_back_in_the_next_job(make_account: MakeAccount):
    account = make_account("""
        folder = base / "checkpoints"
        before = sorted(path.name for path in folder.iterdir())
        (base / "model" / "before.json").write_text(json.dumps(before))
        for path in folder.iterdir():
            path.unlink()
        (folder / f"{len(before)}.pt").write_text(os.environ["TRAINING_JOB_NAME"])
    """)
    shared = {"S3Uri": f"s3://{account.bucket}/checkpoints/"}
    for name in ("one", "two"):
        done = account.train(training_request(account.bucket, name, CheckpointConfig=shared))
        assert done["TrainingJobStatus"] == "Completed", done
    assert account.objects("out/two/output/model/") == {"before.json": b'["0.pt"]'}
    assert account.objects("checkpoints/") == {"1.pt": b"two"}


def test_every_machine_has_a_folder_of_its_own_and_results_are_merged(make_account: MakeAccount):
    account = make_account("""
        hosts = json.loads((base / "input/config/resourceconfig.json").read_text())
        (base / "model" / hosts["current_host"]).write_text(str(len(list((base / "model").iterdir()))))
        (base / "model" / "hosts.json").write_text(json.dumps(hosts["hosts"]))
    """)
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 10}
    done = account.train(training_request(account.bucket, ResourceConfig=resources))
    assert done["TrainingJobStatus"] == "Completed", done
    found = account.objects("out/job/output/model/")
    assert found == {"127.0.0.1": b"0", "127.0.0.2": b"0", "hosts.json": b'["127.0.0.1", "127.0.0.2"]'}
    assert {name[: len("job/algo-1")] for name in account.log("job")} == {"job/algo-1", "job/algo-2"}


def test_one_machine_that_fails_ends_the_others(make_account: MakeAccount):
    account = make_account("""
        hosts = json.loads((base / "input/config/resourceconfig.json").read_text())
        if hosts["current_host"].endswith("2"):
            (base / "output/failure").write_text("TrainingError: diverged")
            sys.exit(1)
        time.sleep(60)
    """)
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 10}
    done = account.train(training_request(account.bucket, ResourceConfig=resources))
    assert done["FailureReason"] == "AlgorithmError: TrainingError: diverged, exit code: 1"


def test_spot_is_billed_below_its_time(make_account: MakeAccount):
    account = make_account("time.sleep(1.2)")
    done = account.train(spot_request(account.bucket))
    assert done["BillableTimeInSeconds"] < done["TrainingTimeInSeconds"]


def test_metrics_are_read_from_the_log_the_latest_wins(make_account: MakeAccount):
    account = make_account("print('loss=3.5'); print('loss=1.25')")
    algorithm = training_request(account.bucket)["AlgorithmSpecification"]
    metrics = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    done = account.train(
        training_request(account.bucket, AlgorithmSpecification=algorithm | {"MetricDefinitions": metrics})
    )
    assert [(entry["MetricName"], entry["Value"]) for entry in done["FinalMetricDataList"]] == [("loss", 1.25)]


def test_checkpoints_may_come_and_go_while_they_are_copied(make_account: MakeAccount):
    account = make_account("""
        import shutil
        folder = base / "checkpoints"
        for number in range(400):
            (folder / "new").mkdir()
            for name in "abc":
                (folder / "new" / name).write_bytes(os.urandom(1000))
            shutil.rmtree(folder / "newest", ignore_errors=True)
            (folder / "new").rename(folder / "newest")
            time.sleep(0.002)
    """)
    config = {"S3Uri": f"s3://{account.bucket}/checkpoints/"}
    done = account.train(training_request(account.bucket, CheckpointConfig=config))
    assert done["TrainingJobStatus"] == "Completed", done
    assert set(account.objects("checkpoints/")) == {"newest/a", "newest/b", "newest/c"}
