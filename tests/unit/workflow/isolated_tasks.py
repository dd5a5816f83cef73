"""Tasks that a process of its own can import."""

from __future__ import annotations

import os
import time

from mlpipe.workflow import Pipeline, Task


class Isolated(Task):
    """Does `how` in a process of its own."""

    input_keys = ("how",)
    output_keys = ("answer",)
    isolate = "process"

    def execute(self, pipeline: Pipeline) -> Pipeline:
        match pipeline["how"]:
            case "answer":
                pipeline["answer"] = os.getpid()
            case "raise":
                raise ValueError("as ordered")
            case "die":
                os._exit(7)
            case "sleep":
                pipeline["answer"] = None
                time.sleep(600)
            case "forget":
                pass
            case "unpicklable":
                pipeline["answer"] = lambda: None
        return pipeline
