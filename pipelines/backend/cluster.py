"""The Kubernetes cluster under KFP, as far as a kubeconfig lets us see it: nodes, quotas, what pods wait for."""

import json
from typing import Any

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException

from components.errors import RecycleError

TIMEOUT_S = (5, 20)
NODE_ID, NODE_NAME = "workflows.argoproj.io/node-id", "workflows.argoproj.io/node-name"
RUN = "pipeline/runid"
KFP_SERVICE, KFP_NAMESPACE = "ml-pipeline", "kubeflow"


class NotSeen(RecycleError):
    """The cluster cannot be looked at."""


class Cluster:
    """A cluster, and the namespace in it where runs have their pods."""

    def __init__(self, http: kubernetes.client.ApiClient, namespace: str) -> None:
        self._http = http
        self._namespace = namespace
        self.host: str = http.configuration.host

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All things of one kind.

        Raises:
            NotSeen: the cluster does not answer, or does not let us.
        """
        found: list[dict[str, Any]] = json.loads(self._get(path, **query))["items"]
        return found

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes, see `items`."""
        return self.items("/api/v1/nodes")

    def waiting_pods(self, run_id: str) -> dict[str, str]:
        """What the pods of a run wait for, by their nodes' whole names, in Kubernetes' words.

        Raises:
            NotSeen: the cluster does not answer, or does not let us.
        """
        found = {_annotation(pod, NODE_NAME) or pod["metadata"]["name"]: _waits_for(pod) for pod in self._pods(run_id)}
        return {node: message for node, message in found.items() if message}

    def workflow(self, run_id: str) -> dict[str, Any] | None:
        """The Workflow of a run, None where there is none: it may be gone, or on another cluster.

        Raises:
            NotSeen: the cluster does not answer, or does not let us.
        """
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{self._namespace}/workflows"
        return next(iter(self.items(path, labelSelector=f"{RUN}={run_id}")), None)

    def log(self, run_id: str, node: str) -> str | None:
        """What the pod of a node of a run wrote, None where the pod is gone or cannot be seen."""
        try:
            for pod in self._pods(run_id):
                if _annotation(pod, NODE_ID) == node:
                    path = f"/api/v1/namespaces/{self._namespace}/pods/{pod['metadata']['name']}/log"
                    return self._get(path, container="main")
        except NotSeen:
            return None
        return None

    def has_kfp(self) -> bool:
        """Whether KFP runs here, so that this is the cluster where runs go; see `items`."""
        for namespace in dict.fromkeys((self._namespace, KFP_NAMESPACE)):
            path = f"/api/v1/namespaces/{namespace}/services"
            if self.items(path, fieldSelector=f"metadata.name={KFP_SERVICE}"):
                return True
        return False

    def _pods(self, run_id: str) -> list[dict[str, Any]]:
        return self.items(f"/api/v1/namespaces/{self._namespace}/pods", labelSelector=f"{RUN}={run_id}")

    def _get(self, path: str, **query: str) -> str:
        try:
            response = self._http.call_api(
                path,
                "GET",
                query_params=list(query.items()),
                header_params={"Accept": "application/json, */*"},
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=TIMEOUT_S,
            )[0]
            return str(response.data.decode("utf-8", "replace"))
        except ApiException as error:
            raise _not_seen(f"it refuses with status {error.status}", self.host) from None
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise _not_seen(f"it does not answer ({type(reason).__name__})", self.host) from None


def connect_cluster(namespace: str) -> Cluster:
    """The cluster that kubectl uses, or the one that this process runs in.

    Args:
        namespace: where runs have their pods.

    Raises:
        NotSeen: there is none, or its configuration cannot be read.
    """
    configuration = kubernetes.client.Configuration()
    configuration.retries = urllib3.Retry(connect=0, read=0)
    try:
        try:
            kubernetes.config.load_incluster_config(client_configuration=configuration)
        except kubernetes.config.ConfigException:
            kubernetes.config.load_kube_config(client_configuration=configuration)
    except Exception as error:  # its loader raises whatever its parsers and plugins do
        why = " ".join(str(error).split())[:200]
        raise NotSeen(f"there is no usable kubeconfig: {why}", hint="check with `kubectl config view`") from None
    return Cluster(kubernetes.client.ApiClient(configuration), namespace)


def _not_seen(why: str, host: str) -> NotSeen:
    return NotSeen(f"the cluster at {host} cannot be looked at: {why}", hint="check with `kubectl get nodes`")


def _annotation(pod: dict[str, Any], name: str) -> str:
    return str(pod["metadata"].get("annotations", {}).get(name, ""))


def _waits_for(pod: dict[str, Any]) -> str:
    """Why a pod is pending, in the form that Argo writes it into a node's message; empty where it is not."""
    status = pod["status"]
    if status.get("phase") != "Pending":
        return ""
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', '')}: image {container.get('image', '')} {waiting.get('message', '')}"
    for condition in status.get("conditions", ()):
        if condition.get("reason") == "Unschedulable":
            return f"Unschedulable: {condition.get('message', '')}"
    return ""
