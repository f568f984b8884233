"""A run's steps as people know them, out of the nodes that Argo makes of a pipeline.

Argo makes several nodes of each step. `evaluate-2-driver` prepares it, `evaluate-2` is the step, and `executor` within
it is its pod. A node that may be tried again has one more for each try: `executor(0)`. The API names nodes by the last
part of their names, so that all executors are called alike, and gives the ids of those that follow each. An id is the
workflow's name with the 32-bit FNV-1a hash of the node's whole name, which leads back from ids to names.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.backend.models import FAILED, Task

FNV_BASIS, FNV_PRIME = 0x811C9DC5, 0x01000193
"""Of FNV-1a with 32 bits (draft-eastlake-fnv-21)."""
CACHED_S = 3
"""A step takes no longer where KFP reuses an earlier result; a pod's start alone does."""


@dataclass(frozen=True, kw_only=True)
class StepState:
    """How it stands with one step."""

    key: str
    """Its name in the compiled pipeline, such as evaluate-2."""
    number: int
    """Which of those that are called so, from 1: parts of a pipeline and iterations of a loop have the same."""
    name: str
    """Its name for people, such as `evaluate recycled`."""
    state: str
    seconds: float | None
    """None until it has ended."""
    reused: bool
    """Whether KFP took the result of an earlier run in place of a pod's."""
    by_driver: bool
    """Whether it failed before its pod was made."""
    followers: frozenset[str]
    """Ids of the nodes right after its own."""

    @property
    def place(self) -> tuple[str, int]:
        """What tells it from all others."""
        return self.key, self.number

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.state in FAILED

    @property
    def ended(self) -> bool:
        """Whether it ended, one way or the other."""
        return self.failed or self.state in ("SUCCEEDED", "SKIPPED")


def step_names(spec: Mapping[str, Any]) -> dict[str, str]:
    """The names for people of all steps of a compiled pipeline, by their names in it, those of conditions too.

    Parts of a pipeline that are pipelines themselves may call their steps as it does: its own names hold.
    """
    found: dict[str, str] = {}
    if spec:
        for key, name in _names(spec["root"]["dag"]["tasks"], spec["components"]):
            found.setdefault(key, name)
    return found


def _names(tasks: Mapping[str, Any], components: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parts = [components[task["componentRef"]["name"]].get("dag") for task in tasks.values()]
    yield from (
        (key, task["taskInfo"]["name"]) for (key, task), part in zip(tasks.items(), parts, strict=True) if not part
    )
    for part in filter(None, parts):
        yield from _names(part["tasks"], components)


def states(tasks: Sequence[Task], names: Mapping[str, str]) -> list[StepState]:
    """The steps that were reached, in the order in which they started; one in a loop once for each iteration.

    Args:
        tasks: what the API says of a run.
        names: see `step_names`.
    """
    reused = [task for task in tasks if task.display_name == "executor" and task.state == "SKIPPED"]
    found = []
    for key, name in names.items():
        reached = [
            (task.start_time, by_driver, task)
            for task in tasks
            for by_driver in (False, True)
            if task.display_name == (f"{key}-driver" if by_driver else key)
            and task.state
            and task.start_time
            and (task.state in FAILED or not by_driver)
        ]
        for number, (started, by_driver, shown) in enumerate(sorted(reached, key=lambda entry: entry[:2]), start=1):
            state = StepState(
                key=key,
                number=number,
                name=name if number == 1 else f"{name} ({number})",
                state=shown.state,
                seconds=shown.seconds if shown.state not in ("PENDING", "RUNNING") else None,
                reused=not by_driver and _was_reused(shown, reused),
                by_driver=by_driver,
                followers=frozenset(child.pod_name for child in shown.child_tasks),
            )
            found.append((started, key, state))
    return [state for _, _, state in sorted(found, key=lambda entry: (*entry[:2], entry[2].number))]


def _was_reused(step: Task, skipped: Iterable[Task]) -> bool:
    if step.state != "SUCCEEDED" or step.seconds is None or step.seconds > CACHED_S:
        return False
    times = [task.start_time for task in skipped if task.start_time]
    return any(step.start_time <= time <= step.end_time for time in times)  # type: ignore[operator] # both are there


def pod_node(tasks: Sequence[Task], step: StepState) -> str | None:
    """The id of the node whose pod ran a step, of its last try; None where Argo made none, or it cannot be told.

    Iterations of a loop have names that are not known here.
    """
    names = node_names(tasks)
    own = rf"\.{re.escape(step.key)}{'-driver' if step.by_driver else ''}"
    last = r"(\(\d+\))?$" if step.by_driver else r"(\(\d+\))?\.executor(\(\d+\))?$"
    found = []
    following = [name for node, name in names.items() if node in step.followers]
    for node, name in names.items():
        match = re.search(rf"^(?P<step>.*{own}){last}", name)
        if match and any(other.startswith(match["step"]) for other in following):
            found.append((name, node))
    return max(found, key=lambda entry: (len(entry[0]), entry[0]))[1] if found else None


def step_of_node(name: str) -> str | None:
    """The key of the step that the pod of the node called `name` belongs to."""
    parts = [re.sub(r"\(\d+\)$", "", part) for part in name.split(".")]
    if parts[-1] == "executor" and len(parts) > 1:
        return parts[-2]
    return parts[-1].removesuffix("-driver") if parts[-1].endswith("-driver") else None


def node_names(tasks: Iterable[Task]) -> dict[str, str]:
    """The whole names of a run's nodes, by id."""
    ids = {child.pod_name for task in tasks for child in task.child_tasks}
    shown = {task.display_name for task in tasks} - {""}
    workflow = next(iter(ids), "").rpartition("-")[0]
    tries = {f"({match[1]})" for name in shown if (match := re.search(r"\((\d+)\)$", name))}
    parts = {".onExit", *tries, *(f".{name}" for name in shown if not re.search(r"\(\d+\)$", name))}
    names: dict[str, str] = {}
    growing = [(workflow, _fnv(workflow.encode()))]
    while growing:
        name, code = growing.pop()
        for part in parts:
            longer = _fnv(part.encode(), code)
            if (node := f"{workflow}-{longer}") in ids and node not in names:
                names[node] = name + part
                growing.append((name + part, longer))
    return names


def _fnv(data: bytes, code: int = FNV_BASIS) -> int:
    for byte in data:
        code = (code ^ byte) * FNV_PRIME & 0xFFFFFFFF
    return code
