"""Why pods wait and why they ended, in words that say what to do.

The messages are Argo's of a Workflow's nodes, which pass on the kubelet's and the scheduler's, and those of pods: as
recorded from Argo 4.0.5 on Kubernetes 1.34.
"""

import re
from dataclasses import dataclass

from pipelines.backend.nodes import Node

LONGEST = 160
"""Characters of others' words that are shown."""
STARTING = ("ContainerCreating", "PodInitializing")
"""What every pod waits for at first."""
ENDED_FROM_OUTSIDE = re.compile(r"exit code 143|pod deleted")
"""SIGTERM: its node was drained, it was evicted, or somebody deleted it."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a pod waits, or ended."""

    problem: str
    hint: str


def is_tried_again(pod: Node) -> bool:
    """Whether Argo makes a new pod for a step whose pod ended so, as `manifests/kfp` tells it, if tries are left."""
    return pod.state == "ERROR" or bool(ENDED_FROM_OUTSIDE.search(pod.message))


def why_ended(message: str, setting: str) -> Cause | None:
    """Why a pod ended that could not say so itself; None where its node's message does not tell.

    Args:
        message: of its node.
        setting: the step's name in `--set`.
    """
    for pattern, problem, hint in (
        (
            r"OOMKilled",
            "it ran out of memory, and Kubernetes ended it (OOMKilled)",
            f"give it more with --set {setting}.memory_limit=… (and --set {setting}.memory=…)",
        ),
        (
            r"longer than the specified deadline|DeadlineExceeded",
            "it ran into its timeout",
            f"give it longer with --set {setting}.timeout=…",
        ),
        (
            r"[Ee]vict|low on resource",
            f"its node ran short of something and evicted it: {_short(message)}",
            f"if it was the disk, ask for more with --set {setting}.scratch=…",
        ),
        (
            ENDED_FROM_OUTSIDE.pattern,
            "its pod was ended from outside: its node was drained, or the pod was evicted or deleted",
            f"if it happens again, look at the node's events; --set {setting}.retries=… allows more tries",
        ),
    ):
        if re.search(pattern, message):
            return Cause(problem=problem, hint=hint)
    return _image(message) or _room(message, setting)


def why_waiting(message: str, setting: str, run_id: str) -> Cause | None:
    """What a pod waits for that may never come; None where it only starts.

    Args:
        message: of its node, or its pod's reason and message.
        setting: the step's name in `--set`.
        run_id: the run, which may have to be stopped.
    """
    if not message or message.startswith(STARTING):
        return None
    cause = _image(message) or _room(message, setting) or Cause(problem=_short(message), hint="look at its pod")
    return Cause(problem=cause.problem, hint=f"{cause.hint}; `recycle runs stop {run_id}` ends the run")


def _image(message: str) -> Cause | None:
    if not re.search(r"ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull", message):
        return None
    named = re.search(r"""image:? "?([^\s":]+(?::[^\s":]+)*)""", message)
    return Cause(
        problem=f"its image{f' {named[1]}' if named else ''} cannot be pulled",
        hint="push the image, or correct its name with --set registry=…",
    )


def _room(message: str, setting: str) -> Cause | None:
    if "exceeded quota" in message:
        used = re.search(r"exceeded quota: (\S+?),", message)
        return Cause(
            problem=f"the namespace's quota{f' {used[1]}' if used else ''} is used up",
            hint="wait until other pods end, raise the quota, or ask for less with --set "
            f"{setting}.memory=… and --set {setting}.cpu=…",
        )
    if re.search(r"Unschedulable|nodes are available", message):
        why = re.sub(r"^.*?(?=\d+/\d+ nodes)|\s*preemption:.*$", "", message)
        return Cause(
            problem=f"no node can take it: {_short(why)}",
            hint=f"free or add a node, or ask for less with --set {setting}.cpu=… and --set {setting}.memory=…",
        )
    return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
