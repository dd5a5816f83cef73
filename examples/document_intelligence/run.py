"""The whole example in one command: make PDFs, put them into a queue, work it off, print the table.

    make documents        # or, in this folder: python run.py

The classifier is trained by `mlpipe run` if there is none yet. S3 and SQS are played by moto's server on this machine,
unless AWS_ENDPOINT_URL names another.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from pdfs import Document, make_documents
from service import MODEL_VARIABLE

HERE = Path(__file__).parent
RUN = HERE / "storage" / "documents" / "runs" / "1"
MODEL = RUN / "models" / "words"
BUCKET, QUEUE = "documents-example", "documents-example"
PLAYED = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""What a client has to be told to talk to moto."""


def main() -> None:
    """Print the table of all documents."""
    train_classifier()
    documents = make_documents()
    with cloud():
        url = send(documents)
        work_off(url)
        sys.stdout.write(collect())


def train_classifier() -> None:
    """Run the experiment of settings.ini unless it has been run."""
    if not (RUN / "_SUCCESS").exists():
        subprocess.run([sys.executable, "-m", "mlpipe", "run", "settings.ini"], cwd=HERE, check=True, stdout=sys.stderr)


@contextlib.contextmanager
def cloud() -> Iterator[None]:
    """Within it, S3 and SQS answer: those that the environment names, or moto's server."""
    if "AWS_ENDPOINT_URL" in os.environ:
        yield
        return
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not every request
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ.update({**PLAYED, "AWS_ENDPOINT_URL": f"http://{host}:{port}"})
    try:
        yield
    finally:
        server.stop()


def send(documents: list[Document]) -> str:
    """Upload the documents and send a message for each, for the first one twice; returns the queue's URL."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket=BUCKET)
    dead = sqs.create_queue(QueueName=f"{QUEUE}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "3"})
    url: str = sqs.create_queue(QueueName=QUEUE, Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    for document in [*documents, documents[0]]:
        key = f"inbox/{document.name}.pdf"
        s3.put_object(Bucket=BUCKET, Key=key, Body=document.pdf)
        body = {"bucket": BUCKET, "key": key, "password": document.password}
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))
    return url


def work_off(url: str) -> None:
    """Run a worker until the queue is empty."""
    command = [sys.executable, "-m", "mlpipe", "worker", "service:Documents", "--queue", url, "--drain-and-exit"]
    subprocess.run(command, cwd=HERE, env={MODEL_VARIABLE: str(MODEL), **os.environ}, check=True)


def collect() -> str:
    """Put the lines of all documents into one table."""
    s3 = boto3.client("s3")
    listed: list[dict[str, Any]] = s3.list_objects_v2(Bucket=BUCKET, Prefix="results/")["Contents"]
    keys = sorted(entry["Key"] for entry in listed if entry["Key"].endswith("/summary.csv"))
    texts = [s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode() for key in keys]
    rows = [row for text in texts for row in csv.DictReader(io.StringIO(text))]
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


if __name__ == "__main__":
    main()
