"""A Kubernetes API for tests, as far as the commands use one: nodes, pods and their logs, the way to KFP."""

import json
import re
from http.server import BaseHTTPRequestHandler

import pytest

from tests.support.fake_kfp import FakeKfp, HttpServer, Refused


class FakeKubernetes(HttpServer):
    """A cluster with one node, where KFP runs in the namespace kubeflow."""

    def __init__(self, kfp: FakeKfp) -> None:
        self.kfp = kfp
        self.nodes = [node("node-1", cpu="8", memory="32873856Ki")]
        self.pods: list[dict] = []
        self.workflows: list[dict] = []
        self.logs: dict[str, str] = {}
        self.has_kfp = True
        self.forbidden: tuple[str, ...] = ()
        super().__init__()

    def answer(self, request: BaseHTTPRequestHandler, path: str, query: dict, body: object) -> object:
        if match := re.fullmatch(r"/api/v1/namespaces/([^/]+)/services/ml-pipeline:http/proxy/+(.*)", path):
            if match[1] != "kubeflow":
                raise Refused(404, {"kind": "Status", "message": 'services "ml-pipeline" not found', "code": 404})
            return self.kfp.answer(request, f"/{match[2]}", query, body)
        kind = path.rsplit("/", 1)[1]
        if kind in self.forbidden:
            raise Refused(403, {"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403})
        if match := re.fullmatch(r"/api/v1/namespaces/kubeflow/pods/([^/]+)/log", path):
            assert query["container"] == "main"
            return self.logs[match[1]]
        if path == "/api/v1/namespaces/kubeflow/pods":
            key, value = query["labelSelector"].split("=")
            return {"items": [one for one in self.pods if one["metadata"]["labels"].get(key) == value]}
        if path == "/apis/argoproj.io/v1alpha1/namespaces/kubeflow/workflows":
            key, value = query["labelSelector"].split("=")
            return {"items": [one for one in self.workflows if one["metadata"]["labels"].get(key) == value]}
        if path == "/api/v1/namespaces/kubeflow/services":
            assert query["fieldSelector"] == "metadata.name=ml-pipeline"
            return {"items": [{"metadata": {"name": "ml-pipeline"}}] if self.has_kfp else []}
        if path.endswith("/services"):
            return {"items": []}
        assert kind == "nodes"
        return {"items": self.nodes}


def node(name: str, **allocatable: str) -> dict:
    amounts = {key.replace("__", "/").replace("_", "."): value for key, value in allocatable.items()}
    return {"metadata": {"name": name}, "status": {"allocatable": {"pods": "110", **amounts}}}


def pod(run_id: str, node_name: str, *, node_id: str = "", phase: str = "Pending", **status: object) -> dict:
    """A pod with what was seen on one of a real run's."""
    return {
        "metadata": {
            "name": f"recycle-gzmk4-retry-system-container-impl-{abs(hash(node_name))}",
            "labels": {"pipeline/runid": run_id, "workflows.argoproj.io/workflow": "recycle-gzmk4"},
            "annotations": {
                "workflows.argoproj.io/node-id": node_id,
                "workflows.argoproj.io/node-name": f"recycle-gzmk4(0).root(0).{node_name}",
            },
        },
        "status": {"phase": phase, **status},
    }


def workflow(run_id: str, *nodes: tuple[str, str, str]) -> dict:
    """A run's workflow, whose nodes are told by their names, phases and messages."""
    found = {}
    for number, (name, phase, message) in enumerate(nodes):
        name = f"recycle-gzmk4(0).root(0).{name}"
        found[f"recycle-gzmk4-{number}"] = {
            "id": f"recycle-gzmk4-{number}",
            "name": name,
            "type": "Pod",
            "phase": phase,
            "message": message,
            "startedAt": "2026-11-23T20:17:00Z",
        }
    return {
        "metadata": {"name": "recycle-gzmk4", "labels": {"pipeline/runid": run_id}},
        "status": {"nodes": found},
    }


@pytest.fixture
def kubernetes(kfp, monkeypatch, tmp_path):
    """A cluster that the kubeconfig leads to."""
    fake = FakeKubernetes(kfp)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": fake.url}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {"token": "of-the-kubeconfig"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    yield fake
    fake.close()
