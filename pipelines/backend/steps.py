"""A run's steps as people know them, out of the nodes that Argo makes of a pipeline.

Argo makes several nodes of each step (see `nodes`): `evaluate-2-driver` prepares it, `evaluate-2` is the step, and
`executor` within it is its pod. A node that may be tried again has one more for each try: `executor(0)`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.backend.endings import is_tried_again
from pipelines.backend.models import FAILED
from pipelines.backend.nodes import Node

TRIES = re.compile(r"(\(\d+\))+$")
ITEM = re.compile(r"\((\d+):[^()]*\)")


@dataclass(frozen=True, kw_only=True)
class StepState:
    """How it stands with one step."""

    path: str
    """The whole name of its node, which tells it from all others, those of other iterations too."""
    key: str
    """Its name in the compiled pipeline, such as evaluate-2."""
    name: str
    """Its name for people, such as `evaluate recycled`."""
    state: str
    started: datetime
    seconds: float | None
    """None until it has ended."""
    tries: int
    """How many pods were made for it."""
    pod: Node | None
    """The node of its pod, of the last try, or of its driver's where that failed; None where none was made."""
    lost: Node | None
    """The node of the pod before the last, in whose place the last one is."""
    pod_failed: bool = False
    """Whether its pod failed and nothing says yet whether it is tried again: its own log may."""

    @property
    def setting(self) -> str:
        """The step's name in `--set`, such as evaluate."""
        return re.sub(r"(-\d+)+$", "", self.key)

    @property
    def in_loop(self) -> bool:
        """Whether it is a step of an iteration."""
        return bool(ITEM.search(self.path))

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


def steps_of(nodes: Sequence[Node], names: Mapping[str, str]) -> list[StepState]:
    """The steps that were reached, in the order in which they started; one in a loop once for each iteration.

    Args:
        nodes: those of a run.
        names: see `step_names`.
    """
    groups: dict[tuple[str, str], dict[str, list[Node]]] = {}
    for node in nodes:
        belongs = _step_of(node.name, names)
        if belongs:
            path, key, part = belongs
            groups.setdefault((path, key), {}).setdefault(part, []).append(node)
    found = (_step(path, key, names[key], parts) for (path, key), parts in groups.items())
    return sorted(filter(None, found), key=lambda step: (step.started, step.path))


def _step_of(name: str, names: Mapping[str, str]) -> tuple[str, str, str] | None:
    """The step that a node belongs to: its path, its key, and which part of it the node is; None for other nodes."""
    whole, _, last = TRIES.sub("", name).rpartition(".")
    tried = "(0)" if TRIES.search(name) else ""
    if last == "executor":
        path = TRIES.sub("", whole)
        key = path.rpartition(".")[2]
        return (path, key, f"pod{tried}") if key in names else None
    if last in names:
        return f"{whole}.{last}", last, "step"
    key = last.removesuffix("-driver")
    return (f"{whole}.{key}", key, f"driver{tried}") if key != last and key in names else None


def _step(path: str, key: str, name: str, parts: Mapping[str, list[Node]]) -> StepState | None:
    """One step from its nodes, None where it was not reached."""
    own = min(parts.get("step", ()), key=lambda node: len(node.name), default=None)
    drivers = [node for node in parts.get("driver", ()) if node.state in FAILED]
    shown = own or next(iter(drivers), None)
    if shown is None or shown.started is None:
        return None
    # Where nothing is tried again, `executor` is the pod itself.
    pods = sorted(parts.get("pod(0)", ()) or parts.get("pod", ()), key=lambda node: (len(node.name), node.name))
    if own is None:
        pods = sorted(parts.get("driver(0)", ()), key=lambda node: (len(node.name), node.name)) or drivers
    pod = pods[-1] if pods else None
    state, ended = shown.state, shown.ended
    # Argo waits for the time of a next try before it says that there is none.
    failed_first = pod is not None and shown.is_unfinished and pod.state in FAILED
    if pod is not None and failed_first and pod.message and not is_tried_again(pod):
        state = pod.state
    if pod is not None and state in FAILED:
        ended = pod.ended or ended
    seconds = (ended - shown.started).total_seconds() if ended and state not in ("PENDING", "RUNNING") else None
    role = next((node.role for node in pods if node.role), "")
    return StepState(
        path=path,
        key=key,
        name=_name(name, path, role),
        state=state,
        started=shown.started,
        seconds=seconds,
        tries=len(pods),
        pod=pod,
        lost=pods[-2] if len(pods) > 1 else None,
        pod_failed=failed_first and not (pod and pod.message),
    )


def _name(name: str, path: str, role: str) -> str:
    """The name for people; in a loop the first word of it with the role, as steps call themselves."""
    item = ITEM.search(path)
    if item is None:
        return name
    return f"{name.split()[0]} {role}" if role else f"{name}, iteration {int(item[1]) + 1}"


def step_of_node(name: str) -> str | None:
    """The path of the step that the pod of the node called `name` belongs to."""
    whole, _, last = TRIES.sub("", name).rpartition(".")
    if last == "executor":
        return TRIES.sub("", whole)
    return f"{whole}.{last.removesuffix('-driver')}" if last.endswith("-driver") else None
