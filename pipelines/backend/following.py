"""A run on the cluster, followed until it ends: its steps' states, what they say in their logs, what it came to."""

import time
from collections.abc import Callable
from typing import TypeVar

from components.errors import ProgramFailed, ServiceUnavailable
from components.system import RetryPolicy, retry
from pipelines.backend.api import Api, NoAnswer
from pipelines.backend.cluster import Cluster
from pipelines.backend.models import KfpRun
from pipelines.backend.node_names import StepState, pod_node, states
from pipelines.backend.runs import get_run, pipeline_name, step_names_of
from pipelines.backend.step_log import StepLog
from pipelines.local import RunResult

POLL_S = 3.0
WAITING_S = 20.0
"""Between two looks at what pods wait for."""
PATIENCE_S = 300.0
"""How long an API that does not answer is asked again."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
AGAIN = "finished work is reused"


Answer = TypeVar("Answer")


def follow(api: Api, run_id: str, say: Callable[[str], None], cluster: Cluster | None) -> RunResult:
    """Tell a run's steps as they start and end, until the run has ended.

    Args:
        api: where it runs.
        run_id: which.
        say: takes a line for people.
        cluster: where to look for what pods wait for; None where that cannot be seen.

    Raises:
        ProgramFailed: a step failed, or somebody stopped the run.
        ServiceUnavailable: the API does not answer any more; the run goes on.
    """
    follower = _Follower(api, run_id, say, cluster)
    while not (run := follower.look()).ended:
        time.sleep(POLL_S)
    return follower.result(run)


class _Follower:
    def __init__(self, api: Api, run_id: str, say: Callable[[str], None], cluster: Cluster | None) -> None:
        self._api, self._run_id, self._say, self._cluster = api, run_id, say, cluster
        self._names: dict[str, str] | None = None
        self._started: set[tuple[str, int]] = set()
        self._ended: dict[tuple[str, int], StepState] = {}
        self._logs: dict[tuple[str, int], StepLog] = {}
        self._waiting: set[tuple[str, str]] = set()
        self._looked_at_pods = time.monotonic()

    def look(self) -> KfpRun:
        """Ask once how it stands, and tell what is new."""
        run = self._asked(lambda: get_run(self._api, self._run_id))
        if self._names is None:
            self._names = self._asked(lambda: step_names_of(self._api, run))
        for step in states(run.run_details.task_details, self._names):
            self._tell(run, step)
        if not run.ended:
            self._tell_waiting()
        return run

    def result(self, run: KfpRun) -> RunResult:
        """What an ended run came to.

        Raises:
            ProgramFailed: a step failed, or somebody stopped it.
        """
        if run.state != "SUCCEEDED":
            raise self._failure(run)
        result = RunResult(
            pipeline=self._asked(lambda: pipeline_name(self._api, run.pipeline_version_reference.pipeline_id)),
            run_id=run.run_id,
            parameters=run.runtime_config.parameters,
            seconds=run.seconds or 0.0,
        )
        for place, step in self._ended.items():
            word = "reused" if step.reused else step.state.lower()
            result.steps.append({"step": step.name, "state": word, "seconds": step.seconds})
            log = self._logs[place]
            outcome = (self._log(run, step) if log.is_empty else log).outcome
            if "report" in outcome:
                outcome["report"] = f"the artifact `report` of the step `{step.name}` in KFP's UI; in MLflow too"
            result.keep(outcome)
        return result

    def _tell(self, run: KfpRun, step: StepState) -> None:
        if step.place in self._ended:
            return
        if not step.ended:
            if step.place not in self._started:
                self._started.add(step.place)
                self._say(f"  → {step.name}")
            return
        self._ended[step.place] = step
        self._logs[step.place] = log = self._log(run, step)
        if step.state == "SKIPPED":
            self._say(f"  – {step.name}  skipped")
        elif step.failed:
            self._say(f"  ✗ {step.name}  {step.seconds or 0:.0f} s")
            if not run.stopped:
                self._say(f"      {log.problem(step)[0]}")
        else:
            took = "reused from an earlier run" if step.reused else f"{step.seconds or 0:.0f} s"
            self._say(f"  ✓ {step.name}  {took}")
            for note in log.notes:
                self._say(f"      {note}")

    def _log(self, run: KfpRun, step: StepState) -> StepLog:
        """What a step wrote; nothing where there is no log of it, as of steps that KFP took from its cache."""
        node = None if step.reused else pod_node(run.run_details.task_details, step)
        if node is None:
            return StepLog("")
        text = self._api.log(self._run_id, node)
        if text is None and self._cluster is not None:
            text = self._cluster.log(self._run_id, node)
        return StepLog(text or "")

    def _tell_waiting(self) -> None:
        now = time.monotonic()
        if self._cluster is None or now - self._looked_at_pods < WAITING_S:
            return
        self._looked_at_pods = now
        for key, reason in self._cluster.waiting(self._run_id):
            if (key, reason) not in self._waiting:
                self._waiting.add((key, reason))
                self._say(f"  … {(self._names or {}).get(key, key)} waits: {reason}")

    def _failure(self, run: KfpRun) -> ProgramFailed:
        failed = next((step for step in self._ended.values() if step.failed), None)
        if run.stopped:
            return ProgramFailed(f"the run {run.run_id} was stopped", hint=f"submit it again: {AGAIN}")
        if failed is None:
            return ProgramFailed(
                f"the run {run.run_id} ended as {run.state}, and no step of it says why",
                hint="look at the run in KFP's UI, or into its workflow's status with kubectl",
            )
        log = self._logs[failed.place]
        if log.is_empty:
            log = self._log(run, failed)
        problem, hint = log.problem(failed)
        return ProgramFailed(f"step {failed.name!r} failed: {problem}", hint=f"{hint}; then submit it again: {AGAIN}")

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        """The answer to a question, asked again for a while where the API does not answer."""
        policy = RetryPolicy(first_wait_s=FIRST_PAUSE_S, longest_wait_s=LONGEST_PAUSE_S, patience_s=PATIENCE_S)
        said: list[str] = []

        def tell(error: Exception, _: float) -> None:
            if not said:
                said.append(str(error))
                self._say(f"      {getattr(error, 'problem', error)}; asking again")

        try:
            return retry(question, policy, (NoAnswer,), tell=tell)
        except ServiceUnavailable as error:
            raise self._lost(error) from None

    def _lost(self, error: ServiceUnavailable) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"{error.problem}. The run {self._run_id} continues on the cluster",
            hint=f"{error.hint}; then follow it with `recycle runs show {self._run_id}`",
        )
