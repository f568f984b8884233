"""The nodes that Argo makes of a run, by their whole names, from its Workflow or from KFP's API.

A node's whole name says where it belongs: `W(0).root(0).for-loop-1(0).iteration-iterations(1:1)(0).iteration-item(0)
.evaluate-2(0).executor(0)` is the first try of the pod that runs the step evaluate-2 in the second iteration of a loop.
Argo appends `.NAME` for a task of a DAG, `(INDEX:ITEM)` for an iteration and `(N)` for a try
(https://github.com/argoproj/argo-workflows/blob/v4.0.5/workflow/controller/{dag,operator}.go). A node's id is the
workflow's name with the 32-bit FNV-1a hash of the whole name (`Workflow.NodeID`, pkg/apis/workflow/v1alpha1).

The Workflow has the names, the messages and the pods' inputs. Above 1 MiB Argo compresses its nodes, which KFP's API
server does not read, so that its API stands still. The API names nodes by the last part of their names, and gives the
ids of those that follow each: the hash leads back from ids to names.
"""

import base64
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipelines.backend.models import Task, ended_at

FNV_BASIS, FNV_PRIME = 0x811C9DC5, 0x01000193
"""Of FNV-1a with 32 bits (draft-eastlake-fnv-21)."""
UNFINISHED = ("PENDING", "RUNNING")
OMITTED = "Omitted"
STARTS_WITHIN = timedelta(seconds=2)
"""From the start of a node to that of the first one in it."""


class Offloaded(Exception):
    """Argo keeps this Workflow's nodes in a database, which is not read here."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of Argo's."""

    name: str
    """The whole name, which begins with the workflow's."""
    id: str
    state: str
    """In the words of KFP's API: PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED or ERROR."""
    started: datetime | None = None
    ended: datetime | None = None
    """None while it runs."""
    message: str = ""
    """Why it waits or ended, in Argo's words; only the Workflow has it."""
    role: str = ""
    """The parameter `role` of the step that a pod runs; only the Workflow has it."""

    @property
    def is_unfinished(self) -> bool:
        """Whether something is still to happen to it."""
        return self.state in UNFINISHED


def nodes_of_workflow(workflow: Mapping[str, Any]) -> list[Node]:
    """The nodes of a Workflow that were reached, compressed or not.

    Raises:
        Offloaded: they are in a database.
    """
    status = workflow.get("status", {})
    nodes = status.get("nodes") or {}
    if packed := status.get("compressedNodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
    elif status.get("offloadNodeStatusVersion"):
        raise Offloaded
    return [_of_argo(node) for node in nodes.values() if node.get("phase") not in (None, "", OMITTED)]


def _of_argo(node: Mapping[str, Any]) -> Node:
    return Node(
        name=node["name"],
        id=node["id"],
        state=node["phase"].upper(),
        started=_moment(node.get("startedAt")),
        ended=_moment(node.get("finishedAt")),
        message=" ".join(node.get("message", "").split()),
        role=_role(node) if node.get("type") == "Pod" else "",
    )


def _moment(text: str | None) -> datetime | None:
    return ended_at(datetime.fromisoformat(text)) if text else None


def _role(node: Mapping[str, Any]) -> str:
    """The parameter `role` out of the launcher's command line, which is in the patch that makes the pod."""
    values = {one["name"]: one.get("value", "") for one in node.get("inputs", {}).get("parameters", ())}
    try:
        command = json.loads(values["pod-spec-patch"])["containers"][0]["command"]
        given = json.loads(command[command.index("--executor_input") + 1])
        return str(given["inputs"]["parameterValues"]["role"])
    except (KeyError, IndexError, TypeError, ValueError):  # a driver, or a step without a role
        return ""


def nodes_of_tasks(tasks: Sequence[Task]) -> list[Node]:
    """The nodes that KFP's API tells of, as far as their whole names can be found."""
    names = node_names(tasks)
    ids = {name: node for node, name in names.items()}
    shown = [task for task in tasks if task.display_name and task.state]
    found: dict[str, Task] = {}
    leaves: list[Task] = []
    for task in shown:
        name = next(filter(None, (_parent(names.get(child.pod_name, ""), task) for child in task.child_tasks)), None)
        if name:
            found[name] = task
        else:
            leaves.append(task)
    nodes = [_of_task(name, ids.get(name, ""), task) for name, task in found.items()]
    for name in sorted(set(ids) - set(found)):
        if fitting := _leaves(name, found, leaves):
            nodes.append(_of_task(name, ids[name], fitting[0]))
    return nodes


def _of_task(name: str, node_id: str, task: Task) -> Node:
    return Node(name=name, id=node_id, state=task.state, started=task.start_time, ended=ended_at(task.end_time))


def _parent(child: str, task: Task) -> str:
    """The whole name of a task, where this child is within it; empty where the child is what follows it."""
    parent = parent_of(child)
    return parent if parent and last_part(parent) == task.display_name else ""


def _leaves(name: str, found: Mapping[str, Task], leaves: Iterable[Task]) -> list[Task]:
    """The tasks that a node without children may be, which begins with the node that it is in.

    Where they are in different states, it is told as that node is: a step's pod has failed, too, once the step has.
    """
    fitting = [task for task in leaves if task.display_name == last_part(name)]
    parent = found.get(parent_of(name))
    if parent is not None and parent.start_time is not None and not re.search(r"\([1-9]\d*\)$", name):
        begun = parent.start_time
        after = [(abs(task.start_time - begun), task) for task in fitting if task.start_time]
        nearest = min((wait for wait, _ in after), default=STARTS_WITHIN)
        fitting = [task for wait, task in after if wait == nearest <= STARTS_WITHIN]
    if parent is not None and len({task.state for task in fitting}) > 1:
        return [parent]
    return fitting


def parent_of(name: str) -> str:
    """The whole name of the node that one is in: its retrying node, its loop, or its DAG. Empty for the workflow."""
    return re.sub(r"(\(\d+\)|\(\d+:[^()]*\)|\.[^.()]+)$", "", name) if re.search(r"[.(]", name) else ""


def last_part(name: str) -> str:
    """The last part of a whole name, with the tries and items behind it: what KFP's API calls the node."""
    return name.rpartition(".")[2]


def node_names(tasks: Iterable[Task]) -> dict[str, str]:
    """The whole names of a run's nodes, by id."""
    ids = {child.pod_name for task in tasks for child in task.child_tasks}
    shown = {task.display_name for task in tasks} - {""}
    workflow = next(iter(ids), "").rpartition("-")[0]
    parts = {".onExit", "(0)"}
    for name in shown:
        first, *endings = re.split(r"(?=\()", name)
        parts |= {f".{first}", *endings}
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
