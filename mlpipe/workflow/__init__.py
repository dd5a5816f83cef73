"""Tasks with declared inputs and outputs, planned topologically and executed.

plan = get_task_plan([DecryptPDF(), ReadPages(), Classify()])
pipeline = execute_task_plan(plan, Pipeline({PDF: content}))
"""

from mlpipe.workflow.executor import execute_task_plan
from mlpipe.workflow.planner import TaskPlan, get_task_plan
from mlpipe.workflow.task import Key, Pipeline, Task

__all__ = ["Key", "Pipeline", "Task", "TaskPlan", "execute_task_plan", "get_task_plan"]
