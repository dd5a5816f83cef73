"""Processing jobs of the fake."""

from __future__ import annotations

import json

from aws.conftest import MakeAccount
from aws.requests import processing_request

REPORT = """
files = sorted(path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file())
config = json.loads((base / "config/processingjobconfig.json").read_text())
output = base / "processing/output/result"
(output / "below").mkdir()
(output / "below" / "found.json").write_text(
    json.dumps({"files": files, "config": config, "arguments": sys.argv[1:], "environment": dict(os.environ)})
)
(output / "link").symlink_to(output / "below" / "found.json")
"""


def s3_input(name: str, uri: str, path: str) -> dict[str, object]:
    place = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": place}


def test_inputs_lie_where_the_request_says_and_outputs_go_to_s3(make_account: MakeAccount):
    account = make_account(REPORT)
    account.put({"data/rows/1.arrow": b"1"})
    rows = s3_input("rows", f"s3://{account.bucket}/data/rows/", "/opt/ml/processing/input/elsewhere")
    request = processing_request(account.bucket, ProcessingInputs=[rows], Environment={"OMP_NUM_THREADS": "1"})
    done = account.process(request)
    assert done["ProcessingJobStatus"] == "Completed", done
    assert done["CreationTime"] <= done["ProcessingStartTime"] <= done["ProcessingEndTime"]
    assert "ExitMessage" not in done
    objects = account.objects("out/job/")
    assert set(objects) == {"below/found.json"}, "links are not uploaded"
    found = json.loads(objects["below/found.json"])
    assert found["arguments"] == ["reconcile"]
    configuration = ["config/processingjobconfig.json", "config/resourceconfig.json"]
    assert found["files"] == [*configuration, "processing/input/elsewhere/1.arrow"]
    assert found["config"]["ProcessingJobArn"] == done["ProcessingJobArn"]
    assert found["config"]["ProcessingInputs"] == [rows]
    own = {"AWS_REGION", "OMP_NUM_THREADS", "SAGEMAKER_BASE_DIR", "PATH", "HOME", "PYTHONPATH"}
    assert set(found["environment"]) - {"LC_CTYPE"} == own


def test_the_message_of_a_failed_job_is_its_exit_message(make_account: MakeAccount):
    account = make_account(
        REPORT + "(base / 'output/message').write_text('DataError: empty' + ' ' * 2000); sys.exit(1)"
    )
    done = account.process(processing_request(account.bucket))
    assert done["ProcessingJobStatus"] == "Failed"
    assert done["ExitMessage"].strip() == "DataError: empty"
    assert len(done["ExitMessage"]) == 1024
    assert done["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert account.objects("out/") == {}


def test_a_message_of_a_job_that_succeeded_is_told_too(make_account: MakeAccount):
    account = make_account("(base / 'output/message').write_text('2 rows'); print('a'); print(); print('b', end='')")
    assert account.process(processing_request(account.bucket))["ExitMessage"] == "2 rows"
    ((stream, lines),) = account.log("job", "Processing").items()
    assert stream.startswith("job/algo-1-")
    assert lines == ["a", "b"]


def test_a_stopped_job_leaves_nothing(make_account: MakeAccount):
    account = make_account(REPORT + "print('ready'); time.sleep(60)")
    account.sagemaker.create_processing_job(**processing_request(account.bucket))
    account.wait_for_line("job", "ready", "Processing")
    account.sagemaker.stop_processing_job(ProcessingJobName="job")
    assert account.ended("Processing", "job")["ProcessingJobStatus"] == "Stopped"
    assert account.objects("out/") == {}


def test_keys_are_divided_among_machines_where_that_is_asked_for(make_account: MakeAccount):
    account = make_account("""
        host = json.loads((base / "config/resourceconfig.json").read_text())["current_host"]
        names = sorted(path.name for path in (base / "processing/input/rows").iterdir())
        (base / "processing/output/result" / host).write_text(",".join(names))
    """)
    account.put({f"data/{number}": b"" for number in range(5)})
    rows = s3_input("rows", f"s3://{account.bucket}/data/", "/opt/ml/processing/input/rows")
    rows["S3Input"] |= {"S3DataDistributionType": "ShardedByS3Key"}  # type: ignore[operator]
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 10}
    account.process(
        processing_request(account.bucket, ProcessingInputs=[rows], ProcessingResources={"ClusterConfig": cluster})
    )
    assert account.objects("out/job/") == {"127.0.0.1": b"0,2,4", "127.0.0.2": b"1,3"}
