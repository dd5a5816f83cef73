"""The tree: every path below a storage is built here and nowhere else.

Paths are storage keys: relative, with forward slashes, without a leading or trailing one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunTree:
    """The paths of one run."""

    root: str
    run_num: int

    @property
    def claim(self) -> str:
        """Who owns the run; written once."""
        return f"{self.root}/claim.json"

    def takeover(self, number: int) -> str:
        """The `number`-th change of owner (from 1): each written once, the highest is the owner."""
        return f"{self.root}/takeovers/{number}.json"

    @property
    def takeovers(self) -> str:
        """The folder of all changes of owner."""
        return f"{self.root}/takeovers"

    @property
    def state(self) -> str:
        """What is going on; changes until the run is committed."""
        return f"{self.root}/state.json"

    @property
    def settings(self) -> str:
        """settings.ini as written."""
        return f"{self.root}/settings.ini"

    @property
    def resolved_settings(self) -> str:
        """The settings after defaults, environment and --set."""
        return f"{self.root}/settings.resolved.json"

    @property
    def user_functions(self) -> str:
        """The copy of the user's code."""
        return f"{self.root}/user_functions"

    def attempt(self, attempt_id: str) -> str:
        """A job's own working space; nothing in it is promised to stay."""
        return f"{self.root}/attempts/{attempt_id}"

    def checkpoints(self, model_name: str) -> str:
        """What an unfinished training of a model goes on from; nothing in it is promised to stay."""
        return f"{self.root}/checkpoints/{model_name}"

    @property
    def logs(self) -> str:
        """The folder of the logs, each of one attempt or of one trial."""
        return f"{self.root}/logs"

    def log(self, attempt_id: str) -> str:
        """The log of one attempt."""
        return f"{self.logs}/{attempt_id}.log"

    @property
    def submitted(self) -> str:
        """The folder of the jobs that were handed to a service."""
        return f"{self.root}/submitted"

    def output_data(self, model_name: str) -> str:
        """What the trainings of a model leave beside their logs: the files of a tracker."""
        return f"{self.logs}/output_data/{model_name}"

    @property
    def models(self) -> str:
        """The folder of all exported models."""
        return f"{self.root}/models"

    def model(self, model_name: str) -> str:
        """Commit unit: one exported model."""
        return f"{self.root}/models/{model_name}"

    def tuning(self, model_name: str) -> str:
        """Commit unit: the trials of one model's tuning."""
        return f"{self.root}/tuning/{model_name}"

    def inference(self, model_name: str) -> str:
        """Commit unit: one model's results on the test set."""
        return f"{self.root}/inference/{model_name}"

    @property
    def yardstick(self) -> str:
        """Commit unit: what the linear model on words says of the test rows; only where there is a text column."""
        return f"{self.root}/yardstick"

    @property
    def comparison(self) -> str:
        """The models side by side."""
        return f"{self.root}/comparison.json"

    @property
    def record(self) -> str:
        """What ran: versions, jobs, hashes, times; written at commit."""
        return f"{self.root}/run.json"

    @property
    def report(self) -> str:
        """The report, which can be made again at any time; in no manifest."""
        return f"{self.root}/report.html"

    def model_card(self, model_name: str) -> str:
        """What there is to know of one model, in Markdown; in no manifest either."""
        return f"{self.root}/model_card.{model_name}.md"


@dataclass(frozen=True)
class ExperimentTree:
    """The paths of one experiment."""

    name: str

    def reconciled(self, address: str) -> str:
        """Commit unit: the labelled rows, addressed by their content."""
        return f"{self.name}/data/reconciled/{address}"

    def records(self, step: str) -> str:
        """The folder of a data step's records."""
        return f"{self.name}/data/records/{step}"

    def record(self, step: str, address: str) -> str:
        """Which snapshot a data step made of which inputs, addressed by those inputs."""
        return f"{self.name}/data/records/{step}/{address}.json"

    def prepared(self, address: str) -> str:
        """Commit unit: split and encoded rows, addressed by what they were made from."""
        return f"{self.name}/data/prepared/{address}"

    def attempt(self, attempt_id: str) -> str:
        """The working space of a job that belongs to no run."""
        return f"{self.name}/data/attempts/{attempt_id}"

    def log(self, attempt_id: str) -> str:
        """The log of one attempt of a job that belongs to no run."""
        return f"{self.name}/data/logs/{attempt_id}.log"

    @property
    def submitted(self) -> str:
        """The folder of the jobs that were handed to a service and belong to no run."""
        return f"{self.name}/data/submitted"

    @property
    def test_uses(self) -> str:
        """The folder of all openings of test sets."""
        return f"{self.name}/test_uses"

    def test_use(self, use_id: str) -> str:
        """One opening of a test set; only ever added."""
        return f"{self.test_uses}/{use_id}.json"

    @property
    def production(self) -> str:
        """Which model is in production, and which were before."""
        return f"{self.name}/production.json"

    @property
    def runs(self) -> str:
        """The folder of all runs."""
        return f"{self.name}/runs"

    def run(self, run_num: int) -> RunTree:
        """The tree of one run."""
        return RunTree(f"{self.name}/runs/{run_num}", run_num)
