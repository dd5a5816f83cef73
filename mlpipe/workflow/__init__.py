"""Tasks with declared inputs and outputs, planned topologically and executed in parallel.

plan = get_task_plan([DecryptPDF(), ReadPages(), Classify()])
pipeline = execute_task_plan(plan, Pipeline({PDF: content}))
"""

from mlpipe.errors import PlanError, TaskError, TaskTimeout
from mlpipe.workflow.cancellation import cancelled
from mlpipe.workflow.drawing import to_dot, to_mermaid
from mlpipe.workflow.events import Event, EventKind, Trace
from mlpipe.workflow.executor import Outcome, execute_task_plan
from mlpipe.workflow.pipeline import Key, Pipeline
from mlpipe.workflow.planner import PlanWarning, TaskPlan, get_task_plan
from mlpipe.workflow.s3 import S3Task
from mlpipe.workflow.task import Retry, Task

__all__ = [
    "Event",
    "EventKind",
    "Key",
    "Outcome",
    "Pipeline",
    "PlanError",
    "PlanWarning",
    "Retry",
    "S3Task",
    "Task",
    "TaskError",
    "TaskPlan",
    "TaskTimeout",
    "Trace",
    "cancelled",
    "execute_task_plan",
    "get_task_plan",
    "to_dot",
    "to_mermaid",
]
