"""The logs of jobs in CloudWatch: one stream per machine and attempt, read on from where the last look ended.

https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from mlpipe.specs import JobKind

_GROUPS = {
    JobKind.TRAINING: "/aws/sagemaker/TrainingJobs",
    JobKind.PROCESSING: "/aws/sagemaker/ProcessingJobs",
}


class CloudWatchLogs:
    """Reads the logs of jobs; `client` is one of CloudWatch Logs."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, kind: JobKind, name: str, position: str) -> tuple[list[str], str]:
        """The lines that came since `position` ("" at first), and the position behind them."""
        tokens: dict[str, str] = json.loads(position) if position else {}
        lines: list[str] = []
        for stream in self._streams(_GROUPS[kind], name):
            found, tokens[stream] = self._from(_GROUPS[kind], stream, tokens.get(stream))
            lines += found
        return lines, json.dumps(tokens)

    def _streams(self, group: str, name: str) -> list[str]:
        """The streams of a job, the oldest first; none where nothing was written yet."""
        try:
            pages = self._client.get_paginator("describe_log_streams").paginate(
                logGroupName=group, logStreamNamePrefix=f"{name}/"
            )
            streams = [stream for page in pages for stream in page["logStreams"]]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return []
            raise
        return [stream["logStreamName"] for stream in sorted(streams, key=lambda stream: stream["creationTime"])]

    def _from(self, group: str, stream: str, token: str | None) -> tuple[list[str], str]:
        """The lines behind a token; the service repeats the token where there are no more."""
        lines: list[str] = []
        while True:
            given = {"nextToken": token} if token else {}
            page = self._client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **given)
            lines += [event["message"].rstrip("\n") for event in page["events"]]
            if page["nextForwardToken"] == token:
                return lines, page["nextForwardToken"]
            token = page["nextForwardToken"]
