"""A run on the cluster, followed until it ends: its steps' states, what they say in their logs, what it came to."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from components.errors import ProgramFailed, ServiceUnavailable
from components.system import RetryPolicy, retry
from pipelines.backend.api import Api, NoAnswer
from pipelines.backend.cluster import Cluster, NotSeen
from pipelines.backend.endings import why_ended, why_waiting
from pipelines.backend.models import KfpRun
from pipelines.backend.nodes import Node, Offloaded, nodes_of_tasks, nodes_of_workflow
from pipelines.backend.runs import get_run, pipeline_name, step_names_of
from pipelines.backend.step_log import StepLog
from pipelines.backend.steps import StepState, step_of_node, steps_of
from pipelines.backend.tracked import TrackedSteps
from pipelines.local import RunResult

POLL_S = 3.0
WAITING_S = 10.0
"""Between two looks at what pods wait for."""
REMIND_S = 120.0
"""After which a wait is told again."""
LATE_S = 30.0
"""How long after a run's end its steps' may follow: KFP writes the run's state first."""
LONG_OVER = timedelta(minutes=2)
"""After a run's end nothing more is to be heard of its steps, also where clocks differ."""
PATIENCE_S = 300.0
"""How long an API that does not answer is asked again."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
STANDS_STILL_S = 180.0
MANY_NODES = 60
"""Argo compresses the nodes of runs with more than about 75 of them, and KFP's API then tells nothing new."""
AGAIN = "finished work is reused"

Answer = TypeVar("Answer")


def follow(api: Api, run_id: str, say: Callable[[str], None], cluster: Cluster | None) -> RunResult:
    """Show a run's steps as they start and end, until the run has ended and its steps with it.

    Args:
        api: where it runs.
        run_id: which.
        say: gets each line for people.
        cluster: the cluster under KFP, whose Workflow tells more than the API; None where it cannot be reached.

    Raises:
        ProgramFailed: a step failed, or somebody stopped the run.
        ServiceUnavailable: the API does not answer any more; the run continues.
    """
    follower = _Follower(api, run_id, say, cluster)
    while not follower.knows_the_end(run := follower.look()):
        time.sleep(POLL_S)
    return follower.result(run)


class _Follower:
    def __init__(self, api: Api, run_id: str, say: Callable[[str], None], cluster: Cluster | None) -> None:
        self._api, self._run_id, self._say, self._cluster = api, run_id, say, cluster
        self._names: dict[str, str] | None = None
        self._nodes: list[Node] = []
        self._started: dict[str, int] = {}
        """The tries of each step that were told, by its path."""
        self._ended: dict[str, StepState] = {}
        self._logs: dict[str, StepLog] = {}
        self._noted: set[str] = set()
        self._waiting: dict[str, tuple[str, float]] = {}
        """What each step was told to wait for, and when."""
        self._looked_at_pods = self._changed = time.monotonic()
        self._saw_it_run, self._saw_the_end = False, 0.0
        self._tracked: TrackedSteps | None = None
        self._has_workflow = self._is_offloaded = False

    def look(self) -> KfpRun:
        """Ask once how it stands, and show what is new."""
        run = self._asked(lambda: get_run(self._api, self._run_id))
        if self._names is None:
            self._names = self._asked(lambda: step_names_of(self._api, run))
        nodes, from_api = self._look_at_nodes(run)
        if nodes != self._nodes:
            self._nodes, self._changed = nodes, time.monotonic()
        for step in steps_of(nodes, self._names):
            self._show(run, step)
        if run.ended:
            self._saw_the_end = self._saw_the_end or time.monotonic()
            return run
        self._saw_it_run = True
        self._show_waiting()
        if from_api and len(nodes) >= MANY_NODES and time.monotonic() - self._changed > STANDS_STILL_S:
            self._follow_in_mlflow(run)
        return run

    def knows_the_end(self, run: KfpRun) -> bool:
        """Whether the run has ended, and its steps too, or nothing more is to be heard of them."""
        if not run.ended:
            return False
        has_reason = run.state == "SUCCEEDED" or run.stopped or any(step.failed for step in self._ended.values())
        if has_reason and self._nodes and not self._unfinished:
            return True
        if not self._saw_it_run and run.finished_at and datetime.now(UTC) - run.finished_at > LONG_OVER:
            return True
        return time.monotonic() - self._saw_the_end >= LATE_S

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
        for path, step in self._ended.items():
            result.steps.append({"step": step.name, "state": step.state.lower(), "seconds": step.seconds})
            log = self._logs[path]
            outcome = (self._log(step) if log.is_empty else log).outcome
            if "report" in outcome:
                outcome["report"] = f"the artifact `report` of the step `{step.name}` in KFP's UI; in MLflow too"
            result.keep(outcome)
        if self._unfinished or not self._nodes:
            self._follow_in_mlflow(run)
            result.incomplete = self._why_incomplete()
        return result

    @property
    def _unfinished(self) -> bool:
        return any(node.is_unfinished for node in self._nodes)

    def _look_at_nodes(self, run: KfpRun) -> tuple[list[Node], bool]:
        """The run's nodes, and whether they are the API's: the Workflow tells more, where it can be read."""
        try:
            workflow = self._cluster.workflow(self._run_id) if self._cluster else None
            if workflow is not None:
                self._has_workflow = True
                return nodes_of_workflow(workflow), False
        except NotSeen:
            if self._has_workflow:  # the API may be far behind it
                return self._nodes, False
        except Offloaded:
            if not self._is_offloaded:
                self._is_offloaded = True
                self._say("      Argo keeps this run's steps in its database, so they are read from KFP's API")
        return nodes_of_tasks(run.run_details.task_details), True

    def _show(self, run: KfpRun, step: StepState) -> None:
        if step.path in self._ended:
            return
        if step.pod_failed and not step.ended and self._log(step).says_why:
            step = replace(step, state="FAILED", seconds=_seconds_of(step))
        if not step.ended:
            told = self._started.get(step.path)
            self._started[step.path] = step.tries
            if told is None:
                self._say(f"  → {step.name}")
            elif step.lost is not None and step.tries > max(told, 1):
                cause = why_ended(step.lost.message, step.setting)
                why = f": {cause.problem}" if cause else ""
                self._say(f"  ↻ {step.name}, try {step.tries}{why}")
            return
        log = self._logs[step.path] = self._log(step)
        if step.in_loop and log.own_name:
            step = replace(step, name=log.own_name)
        self._ended[step.path] = step
        if step.state == "SKIPPED":
            self._say(f"  – {step.name}  skipped")
        elif step.failed:
            self._say(f"  ✗ {step.name}  {step.seconds or 0:.0f} s")
            if not run.stopped:
                self._say(f"      {log.cause(step).problem}")
                if step.in_loop and not run.ended:
                    self._say("      the loop's other iterations continue, if any are left")
        else:
            self._say(f"  ✓ {step.name}  {step.seconds or 0:.0f} s")
            for note in log.notes:
                # The same of each step, as where all images are older than the pipeline, is said once.
                if note not in self._noted:
                    self._noted.add(note)
                    self._say(f"      {note}")

    def _log(self, step: StepState) -> StepLog:
        """What a step's last pod wrote; nothing where there is no log of it."""
        if step.pod is None or not step.pod.id:
            return StepLog("")
        text = self._api.log(self._run_id, step.pod.id)
        if text is None and self._cluster is not None:
            text = self._cluster.log(self._run_id, step.pod.id)
        return StepLog(text or "")

    def _show_waiting(self) -> None:
        """Say what steps wait for that may never come, and again where that does not change."""
        now = time.monotonic()
        if self._cluster is None or now - self._looked_at_pods < WAITING_S:
            return
        self._looked_at_pods = now
        messages = {node.name: node.message for node in self._nodes if node.state == "PENDING"}
        with suppress(NotSeen):
            messages |= self._cluster.waiting_pods(self._run_id)
        for node, message in messages.items():
            path = step_of_node(node) or node
            key = path.rpartition(".")[2]
            cause = why_waiting(message, key, self._run_id)
            told, since = self._waiting.get(path, ("", 0.0))
            if cause is None or (told == cause.problem and now - since < REMIND_S):
                continue
            self._waiting[path] = cause.problem, now
            name, hint = (self._names or {}).get(key, key), cause.hint[:1].upper() + cause.hint[1:]
            self._say(f"  … {name} waits: {cause.problem}. {hint}")

    def _follow_in_mlflow(self, run: KfpRun) -> None:
        """Show the steps that MLflow knows of and KFP's API does not."""
        if self._tracked is None:
            known = {name for step in self._ended.values() for name in (step.name, step.key)}
            self._tracked = TrackedSteps(run.mlflow_run, known)
            where = "the rest is MLflow's" if self._tracked.is_there else "see KFP's UI, or set MLFLOW_TRACKING_URI"
            self._say(
                "      KFP's API tells nothing new of this run, as of runs with many steps. With a kubeconfig for the "
                f"cluster the steps are read there; without one, {where}"
            )
        for line in self._tracked.news():
            self._say(line)

    def _why_incomplete(self) -> str:
        running = [step.name for step in steps_of(self._nodes, self._names or {}) if step.path not in self._ended]
        steps = f" of {', '.join(running)}" if running else ""
        where = self._tracked.where if self._tracked and self._tracked.is_there else "KFP's UI"
        return f"the run succeeded, but KFP's API did not tell the end{steps}; see {where}"

    def _failure(self, run: KfpRun) -> ProgramFailed:
        failed = [step for step in self._ended.values() if step.failed]
        if run.stopped:
            return ProgramFailed(f"the run {run.run_id} was stopped", hint=f"submit it again: {AGAIN}")
        if not failed:
            self._follow_in_mlflow(run)
            reason = self._tracked.failure if self._tracked else ""
            return ProgramFailed(
                reason or f"the run {run.run_id} ended as {run.state}, and no step of it says why",
                hint=f"correct what it names; then submit it again: {AGAIN}"
                if reason
                else "look at the run in KFP's UI, or into its workflow's status with kubectl",
            )
        first, *others = failed
        log = self._logs[first.path]
        cause = (self._log(first) if log.is_empty else log).cause(first)
        also = f"\n  Also failed: {', '.join(step.name for step in others)}" if others else ""
        return ProgramFailed(
            f"step {first.name!r} failed: {cause.problem}{also}", hint=f"{cause.hint}; then submit it again: {AGAIN}"
        )

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


def _seconds_of(step: StepState) -> float | None:
    ended = step.pod.ended if step.pod else None
    return (ended - step.started).total_seconds() if ended else None
