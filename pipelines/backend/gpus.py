"""Whether a cluster has the GPUs that steps ask for: the first that needs one may be hours into a run."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kubernetes.utils import parse_quantity

from components.errors import BadParameter
from pipelines.backend.cluster import Cluster, NotSeen
from pipelines.parts import Resources

HERE = ("localhost", "127.0.0.1", "::1")
"""Hosts of a forwarded port, behind which is the cluster that kubectl uses."""


def check_gpus(cluster: Cluster | None, endpoint: str | None, resources: Resources, steps: Iterable[str]) -> None:
    """Refuse a pipeline of which a step asks for more GPUs than any node has.

    Everything else that a pod may wait for is told while the run is followed. Nothing is refused where the cluster
    cannot be looked at, or may be another one than the endpoint's.

    Args:
        cluster: that kubectl uses, None where it uses none.
        endpoint: KFP's address, None where it is reached through that cluster.
        resources: what steps ask for.
        steps: the pipeline's.

    Raises:
        BadParameter: no node has them.
    """
    asking = {step: resources.steps[step] for step in sorted(set(steps)) if resources.steps[step].gpus}
    if not asking or cluster is None or (endpoint and _host(endpoint) not in HERE):
        return
    try:
        nodes = cluster.nodes() if cluster.has_kfp() else None
    except NotSeen:
        return
    if nodes is None:
        return
    kinds = {step.gpu_type for step in asking.values()}
    most = {kind: max((_allocatable(node, kind) for node in nodes), default=0) for kind in kinds}
    lacking = [
        f"{name} asks for {step.gpus} {step.gpu_type}, and no node has more than {most[step.gpu_type]}"
        for name, step in asking.items()
        if step.gpus > most[step.gpu_type]
    ]
    if lacking:
        raise BadParameter(
            f"the cluster {cluster.host} has too few GPUs: {'; '.join(lacking)}",
            hint="choose others with --resources and --set STEP.gpus=N; where the cluster adds nodes on demand, pass "
            "--no-gpu-check",
        )


def _allocatable(node: Mapping[str, Any], kind: str) -> int:
    return int(parse_quantity(node["status"].get("allocatable", {}).get(kind, "0")))


def _host(endpoint: str) -> str | None:
    try:
        return urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname
    except ValueError:  # a bracket that is not closed
        return None
