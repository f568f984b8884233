"""Whether a cluster has what a pipeline's steps ask for, told before a run waits for it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kubernetes.utils import parse_quantity

from components.errors import BadParameter
from components.system import human_bytes
from pipelines.backend.cluster import Cluster, NotSeen
from pipelines.parts import Resources, StepResources, Toleration

SHOWN = 5
"""Nodes that an error names."""
KEEP_OUT = ("NoSchedule", "NoExecute")
"""Effects of taints that a pod must bear."""

HERE = ("localhost", "127.0.0.1", "::1")
"""Hosts of a forwarded port, behind which is the cluster that kubectl uses."""

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Need:
    met_by: Callable[[Document], bool]
    unmet: str
    """What to say where no node meets it."""


def check_fits(cluster: Cluster | None, endpoint: str | None, resources: Resources, steps: Iterable[str]) -> str:
    """Refuse a pipeline of which a step could never start.

    Args:
        cluster: that kubectl uses, None where it uses none.
        endpoint: KFP's address, None where it is reached through that cluster.
        resources: what steps ask for.
        steps: the pipeline's.

    Returns:
        Why it could not be checked; empty where it was.

    Raises:
        BadParameter: no node, or no quota, has room for one of them.
    """
    if endpoint and _host(endpoint) not in HERE:
        return f"the cluster that kubectl uses need not be the one behind {endpoint}"
    if cluster is None:
        return "there is no usable kubeconfig"
    try:
        if not cluster.has_kfp():
            return f"the cluster that kubectl uses, {cluster.host}, has no Kubeflow Pipelines"
        nodes, quotas = cluster.nodes(), cluster.quotas()
    except NotSeen as error:
        return error.problem
    problems = []
    for step in sorted(set(steps)):
        asked = resources.steps[step]
        if why := _no_node(asked, nodes) or _over_quota(asked, quotas):
            problems.append(f"\n  {step} {why}")
    if problems:
        gpus = sorted({resources.steps[step].gpu_type for step in steps})
        shown = "".join(f"\n    {_described(node, gpus)}" for node in nodes[:SHOWN])
        more = f"\n    and {len(nodes) - SHOWN} more" if len(nodes) > SHOWN else ""
        raise BadParameter(
            f"no room on the cluster {cluster.host} for some steps:{''.join(problems)}\n  Its nodes:{shown}{more}",
            hint="ask for something else with --resources and --set STEP.SETTING=VALUE; where nodes are added on "
            "demand, say --no-room-check",
        )
    return ""


def _host(endpoint: str) -> str | None:
    try:
        return urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname
    except ValueError:  # a bracket that is not closed
        return None


def _no_node(asked: StepResources, nodes: list[dict[str, Any]]) -> str:
    needs = list(_needs(asked, nodes))
    if any(all(need.met_by(node) for need in needs) for node in nodes):
        return ""
    unmet = [need.unmet for need in needs if not any(map(need.met_by, nodes))]
    return "; ".join(unmet) or "asks for more than any single node has together: " + _summary(asked)


def _needs(asked: StepResources, nodes: list[dict[str, Any]]) -> Iterable[_Need]:
    for name, text in (("cpu", asked.cpu), ("memory", asked.memory), (asked.gpu_type, str(asked.gpus))):
        amount, most = parse_quantity(text), max((_allocatable(node, name) for node in nodes), default=0)
        yield _Need(
            met_by=lambda node, name=name, amount=amount: _allocatable(node, name) >= amount,  # type: ignore[misc]
            unmet=f"asks for {text} {name}, and no node has more than {_amount(name, most)}",
        )
    labels = ", ".join(f"{key}={value}" for key, value in asked.node_selector.items())
    yield _Need(
        met_by=lambda node: asked.node_selector.items() <= node["metadata"].get("labels", {}).items(),
        unmet=f"asks for a node with the labels {labels}, and none has them",
    )
    yield _Need(
        met_by=lambda node: all(_bears(asked.tolerations, taint) for taint in _taints(node)),
        unmet="tolerates the taints of no node",
    )


def _over_quota(asked: StepResources, quotas: list[dict[str, Any]]) -> str:
    wanted = {
        **dict.fromkeys(("cpu", "requests.cpu"), asked.cpu),
        **dict.fromkeys(("memory", "requests.memory"), asked.memory),
        "limits.cpu": asked.cpu_limit,
        "limits.memory": asked.memory_limit,
        f"requests.{asked.gpu_type}": str(asked.gpus),
    }
    for quota in quotas:
        for name, hard in quota.get("status", {}).get("hard", quota["spec"].get("hard", {})).items():
            if name in wanted and parse_quantity(wanted[name]) > parse_quantity(hard):
                return (
                    f"asks for {wanted[name]} ({name}), and the quota {quota['metadata']['name']} allows {hard} to all "
                    "pods together"
                )
    return ""


def _summary(asked: StepResources) -> str:
    gpus = f", {asked.gpus} {asked.gpu_type}" if asked.gpus else ""
    labels = "".join(f", {key}={value}" for key, value in asked.node_selector.items())
    return f"{asked.cpu} cpu, {asked.memory} memory{gpus}{labels}"


def _described(node: Document, gpu_types: Iterable[str]) -> str:
    amounts = [f"{_amount(name, _allocatable(node, name))} {name}" for name in ("cpu", "memory", *gpu_types)]
    taints = [f"taint {taint['key']}:{taint['effect']}" for taint in _taints(node)]
    return f"{node['metadata']['name']}: {', '.join(amounts + taints)}"


def _allocatable(node: Document, name: str) -> Any:  # noqa: ANN401 - Decimal, of a package without types
    return parse_quantity(node["status"].get("allocatable", {}).get(name, "0"))


def _amount(name: str, value: Any) -> str:  # noqa: ANN401 - Decimal, of a package without types
    return human_bytes(float(value)) if name == "memory" else f"{float(value):g}"


def _taints(node: Document) -> list[dict[str, Any]]:
    return [taint for taint in node["spec"].get("taints", ()) if taint["effect"] in KEEP_OUT]


def _bears(tolerations: Iterable[Toleration], taint: Document) -> bool:
    return any(
        one.key in (None, taint["key"])
        and one.effect in (None, taint["effect"])
        and (one.operator == "Exists" or (one.value or "") == taint.get("value", ""))
        for one in tolerations
    )
