"""A cluster with our services, and what runs a pipeline's tasks on it as pods."""

import os
import secrets
import shutil
import subprocess

import pytest
from kfp import compiler

from components.steps.save_checkpoint import save_checkpoint
from components.steps.transfer import transfer
from pipelines.parts.resources import load_resources
from pipelines.parts.tasks import pipeline, task
from tests.cluster.pods import ARTIFACTS, NAMESPACE, PodRunner
from tests.support.tinymodels import make_checkpoint

# `kfp.local` would try again what a step's own error ended, which Argo's policy OnError does not; of pods that are lost
# the runner makes new ones.
RESOURCES = ("registry=localhost", "*.retries=0")
MLFLOW = "http://localhost:30081"
"""On the node, by the port that the overlay for kind gives it."""


@pytest.fixture(scope="session")
def cluster():
    """Kubernetes' client module, or the test is skipped."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster: run `make test-cluster`")
    kubernetes = pytest.importorskip("kubernetes")
    if not ARTIFACTS.is_dir():
        pytest.skip(f"{ARTIFACTS} is not here: run `make test-cluster` on the cluster's node")
    kubernetes.config.load_kube_config()
    return kubernetes.client


@pytest.fixture(scope="session")
def mlflow_client(cluster):
    from mlflow import MlflowClient

    return MlflowClient(MLFLOW)


@pytest.fixture
def runner(cluster, mlflow_client, tmp_path):
    """Makes a runner of a pipeline, whose pods are removed after the test."""
    runs = []

    def make(made, **options):
        path = tmp_path / "pipeline.yaml"
        compiler.Compiler().compile(made.build(load_resources("cpu", RESOURCES)), str(path))
        run = PodRunner(
            compiled=path,
            run_id=f"test-{secrets.token_hex(4)}",
            mlflow=mlflow_client,
            tracking_uri="http://mlflow.recycle.svc.cluster.local:5000",
            **options,
        )
        runs.append(run)
        return run

    yield make
    for run in runs:
        chosen = f"pipeline/runid={run.run_id}"
        cluster.CoreV1Api().delete_collection_namespaced_pod(NAMESPACE, label_selector=chosen)
        shutil.rmtree(ARTIFACTS / run.run_id, ignore_errors=True)


@pipeline()
def moved(source_base: str, source_tuned: str, target_base: str) -> None:
    """Saved and transferred, not judged."""
    saved = [
        task(save_checkpoint(reference=reference, state=reference, role=role), f"save {role}").outputs["checkpoint"]
        for reference, role in ((source_base, "source base"), (source_tuned, "source tuned"), (target_base, "target"))
    ]
    arguments = dict(zip(("source_base", "source_tuned", "target_base"), saved, strict=True))
    task(transfer(**arguments, scale="1", dtype="auto"), "transfer")


@pytest.fixture
def move(runner):
    """Makes a runner of a transfer alone, whose pods use a place of their own in the bucket: nothing is found done.

    `environment` is set in each pod besides.
    """

    def make(environment=None, **options):
        def change(task_name, pod):
            place = pod["metadata"]["labels"]["pipeline/runid"]
            changes = {"RECYCLE_STORE": f"s3://recycle/{place}", **(environment or {})}
            (container,) = pod["spec"]["containers"]
            container["env"] = [entry for entry in container["env"] if entry["name"] not in changes]
            container["env"] += [{"name": name, "value": value} for name, value in changes.items()]

        return runner(moved, change=change, **options)

    return make


def three_models(folder, **sizes):
    """Three checkpoints where pods can read them, as arguments of `moved`; made unless they are there."""
    for seed, role in enumerate(("source_base", "source_tuned", "target_base"), start=1):
        if not (folder / role / "config.json").exists():
            make_checkpoint(folder / role, seed=seed, **sizes)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return {role: str(folder / role) for role in ("source_base", "source_tuned", "target_base")}


@pytest.fixture(scope="session")
def models(cluster):
    """Tiny ones."""
    return three_models(ARTIFACTS / "models")


@pytest.fixture(scope="session")
def larger_models(cluster):
    """Some 400 MB each: the transfer takes long enough to be disturbed."""
    return three_models(ARTIFACTS / "larger-models", hidden=1024, layers=20, rows=16384, shards=3)
