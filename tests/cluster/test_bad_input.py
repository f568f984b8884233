"""What a person sees on a cluster that is not as it should be."""

import subprocess
from pathlib import Path

import pytest

from tests.cluster.pods import NAMESPACE

ROOT = Path(__file__).parents[2]
NOWHERE = f"http://nowhere.{NAMESPACE}.svc.cluster.local"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def nowhere(cluster):
    """A name in the cluster that nothing stands behind, as for a server that does not run."""
    core = cluster.CoreV1Api()
    core.create_namespaced_service(NAMESPACE, {"metadata": {"name": "nowhere"}, "spec": {"ports": [{"port": 80}]}})
    yield
    core.delete_namespaced_service("nowhere", NAMESPACE)


def failed(run, models):
    """The one task of a run, which failed."""
    with pytest.raises(RuntimeError, match="save-checkpoint"):
        run.run(models)
    (task,) = run.tasks
    assert task.phase == "Failed"
    return task


def test_a_wrong_secret_is_told_in_the_log_and_the_state(move, models):
    task = failed(move({"AWS_SECRET_ACCESS_KEY": "wrong-secret-0123456789"}), models)
    assert "AWS_SECRET_ACCESS_KEY" in task.log
    assert "wrong-secret-0123456789" not in task.log


@pytest.mark.usefixtures("nowhere")
def test_a_minio_that_is_not_there_is_told(move, models):
    task = failed(move({"AWS_ENDPOINT_URL_S3": NOWHERE}), models)
    assert NOWHERE in task.log


@pytest.mark.usefixtures("nowhere")
def test_an_mlflow_that_is_not_there_is_told(move, models):
    task = failed(move({"MLFLOW_TRACKING_URI": NOWHERE}), models)
    assert f"MLflow at {NOWHERE} could not be used" in task.log
    assert "check MLFLOW_TRACKING_URI" in task.log


@pytest.fixture
def namespace(cluster):
    """A namespace of its own."""
    core = cluster.CoreV1Api()
    made = core.create_namespace({"metadata": {"generateName": "test-"}}).metadata.name
    yield made
    core.delete_namespace(made)


def deployment(image):
    container = {"name": "main", "image": image, "resources": {"requests": {"cpu": "10m"}}}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
    return {"metadata": {"name": "broken"}, "spec": spec}


def waited(namespace):
    command = [ROOT / "manifests/wait", namespace, "deployments", "10s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "deployment.apps/broken" in done.stderr
    assert "not ready after 10s" in done.stderr
    return done.stderr


def test_the_installation_tells_of_an_image_that_is_not_found(cluster, namespace):
    cluster.AppsV1Api().create_namespaced_deployment(namespace, deployment("localhost/not-there:1"))
    assert "localhost/not-there:1" in waited(namespace)


def test_the_installation_tells_of_a_quota(cluster, namespace):
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "1m"}}}
    cluster.CoreV1Api().create_namespaced_resource_quota(namespace, quota)
    cluster.AppsV1Api().create_namespaced_deployment(namespace, deployment("localhost/x:1"))
    assert "exceeded quota: small" in waited(namespace)
