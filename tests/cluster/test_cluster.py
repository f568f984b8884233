"""Every step as a pod on a real cluster, with what the manifests set up there; `make test-cluster` brings that up."""

import json
import os
import re
import secrets
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from kfp import compiler
from pods import ARTIFACTS, NAMESPACE, PodRunner

from components.save_checkpoint.component import save_checkpoint
from components.transfer.component import transfer
from pipelines.catalogue import load_pipeline
from pipelines.resources import load_resources
from pipelines.task import pipeline, task
from tinymodels import make_checkpoint

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
RESOURCES = ("registry=localhost",)


@pytest.fixture(scope="session")
def cluster():
    """A cluster with our services, or the test is skipped."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster: run `make test-cluster`")
    kubernetes = pytest.importorskip("kubernetes")
    if not ARTIFACTS.is_dir():
        pytest.skip(f"{ARTIFACTS} is not here: run `make test-cluster` on the cluster's node")
    kubernetes.config.load_kube_config()
    return kubernetes.client


@contextmanager
def forwarded(namespace, service, port):
    """The service on a port of this machine, as http://localhost:PORT."""
    command = ["kubectl", "port-forward", "--namespace", namespace, f"service/{service}", f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        here = re.search(r":(\d+) ->", process.stdout.readline())
        yield f"http://localhost:{here[1]}"
        process.kill()


@pytest.fixture(scope="session")
def mlflow_client(cluster):
    from mlflow import MlflowClient

    with forwarded("recycle", "mlflow", 5000) as address:
        yield MlflowClient(address)


def compiled(made, folder):
    path = folder / "pipeline.yaml"
    compiler.Compiler().compile(made.build(load_resources("cpu", RESOURCES)), str(path))
    return path


@pytest.fixture
def runner(mlflow_client, tmp_path):
    """Makes a runner of a pipeline."""

    def make(made, **options):
        return PodRunner(
            compiled=compiled(made, tmp_path),
            run_id=f"test-{secrets.token_hex(4)}",
            mlflow=mlflow_client,
            tracking_uri="http://mlflow.recycle.svc.cluster.local:5000",
            **options,
        )

    return make


def test_finetune_and_recycle_to_a_registered_model(runner, mlflow_client):
    name = f"cluster-{secrets.token_hex(3)}"
    run = runner(load_pipeline("finetune-and-recycle"))
    run.run({"model_name": name})
    assert [ran.phase for ran in run.tasks] == ["Succeeded"] * len(run.tasks)
    assert {re.sub(r"-\d+$", "", ran.task) for ran in run.tasks} == {
        *("resolve", "save-checkpoint", "finetune", "transfer", "connectivity", "evaluate", "compare", "register")
    }
    version = mlflow_client.get_model_version_by_alias(name, "candidate")
    assert version.source.startswith("s3://recycle/store/") or "s3://recycle/store/" in str(version.tags)
    small = [path for path in (ARTIFACTS / run.run_id).rglob("*") if path.is_file()]
    assert small
    assert max(path.stat().st_size for path in small) < 5_000_000, "weights go through MinIO alone"
    (parent,) = mlflow_client.search_runs(
        [version_experiment(mlflow_client)], f"tags.`kfp.pipeline_run_id` = '{run.run_id}'"
    )
    assert "report.html" in [file.path.split("/")[-1] for file in walk(mlflow_client, parent.info.run_id)]


def version_experiment(client):
    return client.get_experiment_by_name("recycle").experiment_id


def walk(client, run_id, path=None):
    for file in client.list_artifacts(run_id, path):
        yield file
        if file.is_dir:
            yield from walk(client, run_id, file.path)


@pipeline()
def moved(source_base: str, source_tuned: str, target_base: str) -> None:
    """Saved and transferred, not judged."""
    saved = [
        task(save_checkpoint(reference=reference, state=reference, role=role), f"save {role}").outputs["checkpoint"]
        for reference, role in ((source_base, "source base"), (source_tuned, "source tuned"), (target_base, "target"))
    ]
    arguments = dict(zip(("source_base", "source_tuned", "target_base"), saved, strict=True))
    task(transfer(**arguments, scale="1", dtype="auto"), "transfer")


@pytest.fixture(scope="session")
def models(cluster):
    """Three checkpoints of some 300 MB each, where pods can read them."""
    folder = ARTIFACTS / "models"
    sizes = {"hidden": 1024, "layers": 20, "rows": 16384, "shards": 3}
    for seed, role in enumerate(("source_base", "source_tuned", "target_base"), start=1):
        if not (folder / role / "config.json").exists():
            make_checkpoint(folder / role, seed=seed, **sizes)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return {role: str(folder / role) for role in ("source_base", "source_tuned", "target_base")}


@pytest.fixture(scope="session")
def expected(models, tmp_path_factory):
    """The digest of the same transfer, done by one process into a folder."""
    output = tmp_path_factory.mktemp("here") / "recycled"
    command = ["python", "-m", "pipelines.cli", "transfer", *models.values(), "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    return manifest_digest(output / "checkpoint.json")


def digest_of(run):
    (path,) = (ARTIFACTS / run.run_id).glob("*/transfer/recycled")
    return manifest_digest(path)


def manifest_digest(path):
    return json.loads(path.read_text())["digest"]


def when_it_writes(run, task_name, act):
    """Calls `act` once the pod of a task has said that it works, in a thread."""
    from kubernetes import client

    def watch():
        core = client.CoreV1Api()
        while not any(ran.task == task_name and ran.pods for ran in run.tasks):
            time.sleep(0.1)
        pod = next(ran.pods[0] for ran in run.tasks if ran.task == task_name)
        while True:
            try:
                if re.search(r"\d+ ?%", core.read_namespaced_pod_log(pod, NAMESPACE)):
                    break
            except client.ApiException:
                pass
            time.sleep(0.1)
        act(pod)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def fresh_store(task_name, pod):
    """Pods use a place of their own in the bucket, so that nothing is found done."""
    place = pod["metadata"]["labels"]["pipeline/runid"]
    pod["spec"]["containers"][0]["env"].append({"name": "RECYCLE_STORE", "value": f"s3://recycle/{place}"})


def test_a_transfer_whose_pod_is_killed_ends_the_same(runner, models, expected):
    from kubernetes import client

    run = runner(moved, change=fresh_store, retries=1)

    def kill(pod):
        client.CoreV1Api().delete_namespaced_pod(pod, NAMESPACE, grace_period_seconds=0)

    killer = when_it_writes(run, "transfer", kill)
    run.run(models)
    killer.join(timeout=5)
    (transferred,) = [ran for ran in run.tasks if ran.task == "transfer"]
    assert len(transferred.pods) == 2, "the pod ended before it could be killed"
    assert digest_of(run) == expected


def test_minio_is_deleted_while_a_transfer_runs(runner, models, expected):
    from kubernetes import client

    run = runner(moved, change=fresh_store)
    deleted = []

    def delete(pod):
        client.CoreV1Api().delete_namespaced_pod("minio-0", "recycle", grace_period_seconds=0)
        deleted.append(pod)

    killer = when_it_writes(run, "transfer", delete)
    run.run(models)
    killer.join(timeout=5)
    assert deleted
    assert digest_of(run) == expected


def test_a_wrong_secret_is_told_in_the_log_and_the_state(runner, models):
    def wrong(task_name, pod):
        fresh_store(task_name, pod)
        environment = pod["spec"]["containers"][0]["env"]
        environment.append({"name": "AWS_SECRET_ACCESS_KEY", "value": "wrong-secret-0123456789"})

    run = runner(moved, change=wrong)
    with pytest.raises(RuntimeError, match="save-checkpoint"):
        run.run(models)
    (failed,) = run.tasks
    assert failed.phase == "Failed"
    assert "AWS_SECRET_ACCESS_KEY" in failed.log
    assert "wrong-secret-0123456789" not in failed.log
