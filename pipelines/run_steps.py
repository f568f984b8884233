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

from pipelines.kfp_models import FAILED, Task

FNV_BASIS, FNV_PRIME = 0x811C9DC5, 0x01000193
"""Of FNV-1a with 32 bits (draft-eastlake-fnv-21)."""
CACHED_S = 3
"""A step takes no longer where KFP reuses an earlier result; a pod's start alone does."""


@dataclass(frozen=True, kw_only=True)
class StepState:
    """How it stands with one step."""

    key: str
    """Its name in the compiled pipeline, such as evaluate-2."""
    name: str
    """Its name for people, such as `evaluate recycled`."""
    state: str
    seconds: float | None
    """None until it has ended."""
    reused: bool
    """Whether KFP took the result of an earlier run in place of a pod's."""
    by_driver: bool
    """Whether it failed before its pod was made."""

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.state in FAILED

    @property
    def ended(self) -> bool:
        """Whether it ended, one way or the other."""
        return self.failed or self.state in ("SUCCEEDED", "SKIPPED")


def step_names(spec: Mapping[str, Any]) -> dict[str, str]:
    """The names for people of all steps of a compiled pipeline, by their names in it, those of conditions too."""
    if not spec:
        return {}
    return dict(_names(spec["root"]["dag"]["tasks"], spec["components"]))


def _names(tasks: Mapping[str, Any], components: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, task in tasks.items():
        component = components[task["componentRef"]["name"]]
        if "dag" in component:
            yield from _names(component["dag"]["tasks"], components)
        else:
            yield key, task["taskInfo"]["name"]


def states(tasks: Sequence[Task], names: Mapping[str, str]) -> list[StepState]:
    """The steps that were reached, in the order in which they started.

    Args:
        tasks: what the API says of a run.
        names: see `step_names`.
    """
    by_name = {task.display_name: task for task in tasks}
    reused = [task for task in tasks if task.display_name == "executor" and task.state == "SKIPPED"]
    found = []
    for key, name in names.items():
        task, driver = by_name.get(key), by_name.get(f"{key}-driver")
        by_driver = driver is not None and driver.state in FAILED and not (task and task.state)
        shown = driver if by_driver else task
        if shown is not None and shown.state and shown.start_time:
            state = StepState(
                key=key,
                name=name,
                state=shown.state,
                seconds=shown.seconds if shown.state not in ("PENDING", "RUNNING") else None,
                reused=not by_driver and _was_reused(shown, reused),
                by_driver=by_driver,
            )
            found.append((shown.start_time, key, state))
    return [state for _, _, state in sorted(found, key=lambda entry: entry[:2])]


def _was_reused(step: Task, skipped: Iterable[Task]) -> bool:
    if step.state != "SUCCEEDED" or step.seconds is None or step.seconds > CACHED_S:
        return False
    times = [task.start_time for task in skipped if task.start_time]
    return any(step.start_time <= time <= step.end_time for time in times)  # type: ignore[operator] # both are there


def pod_node(tasks: Sequence[Task], step: StepState) -> str | None:
    """The id of the node whose pod ran a step, of its last try; None where Argo made none."""
    last = rf"{re.escape(step.key)}-driver" if step.by_driver else rf"{re.escape(step.key)}(\(\d+\))?\.executor"
    found = [(name, node) for node, name in node_names(tasks).items() if re.search(rf"\.{last}(\(\d+\))?$", name)]
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
