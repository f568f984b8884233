"""What a real API server says of the manifests, applied for nothing but its answer."""

import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("manifests/base", "manifests/overlays/kind", "manifests/overlays/gpu", "tests/cluster/manifests")
UPSTREAM = "https://github.com/kubeflow/pipelines"

# With the fixture `cluster` no other cluster is asked than the one that is made for these tests.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.usefixtures("cluster")]


def kubectl(*arguments, text=None):
    done = subprocess.run(["kubectl", *arguments], cwd=ROOT, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_takes_the_overlay_and_warns_of_nothing(overlay):
    documents = [document for document in yaml.safe_load_all(kubectl("kustomize", overlay)[0]) if document]
    for document in documents:
        if document["kind"] in ("StatefulSet", "Job"):
            # As a new one: those that run already cannot be changed in every part.
            document["metadata"]["name"] += "-new"
    command = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename", "-")
    said, warnings = kubectl(*command, text=yaml.safe_dump_all(documents))
    assert said.count("serverside-applied (server dry run)") == len(documents)
    assert warnings == "", "the namespaces warn of what Pod Security `restricted` refuses"


def test_it_would_warn():
    """What the test above relies on."""
    pod = {"containers": [{"name": "main", "image": "busybox:1"}]}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loose", "namespace": "kubeflow"}, "spec": pod}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "loose", "namespace": "recycle"}}
    job["spec"] = {"template": {"spec": pod | {"restartPolicy": "Never"}}}
    command = ("apply", "--server-side", "--dry-run=server", "--filename", "-")
    assert "would violate PodSecurity" in kubectl(*command, text=yaml.safe_dump(job))[1]
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        kubectl(*command, text=yaml.safe_dump(document))


@pytest.fixture(scope="module")
def upstream(cluster):
    """Kubeflow Pipelines as manifests/kfp installs it, fetched from its authors."""
    looked = subprocess.run(["git", "ls-remote", "--exit-code", UPSTREAM, "HEAD"], capture_output=True, check=False)
    if looked.returncode:
        pytest.skip(f"{UPSTREAM} cannot be reached")
    return {
        part: [document for document in yaml.safe_load_all(kubectl("kustomize", part)[0]) if document]
        for part in ("manifests/kfp/cluster", "manifests/kfp")
    }


@pytest.fixture(scope="module")
def kinds(upstream):
    """The kinds of objects that Kubeflow Pipelines brings, known to the cluster while these tests run."""
    definitions = yaml.safe_dump_all(
        document for document in upstream["manifests/kfp/cluster"] if document["kind"] == "CustomResourceDefinition"
    )
    kubectl("apply", "--server-side", "--filename", "-", text=definitions)
    kubectl("wait", "--for", "condition=Established", "customresourcedefinitions", "--all", "--timeout", "1m")
    yield
    kubectl("delete", "--filename", "-", text=definitions)


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize("part", ["manifests/kfp/cluster", "manifests/kfp"])
def test_it_takes_kubeflow_pipelines_and_its_pods_are_restricted(upstream, part):
    text = yaml.safe_dump_all(upstream[part])
    command = ("apply", "--server-side", "--dry-run=server", "--filename", "-")
    said, warnings = kubectl(*command, text=text)
    assert said.count("serverside-applied (server dry run)") == len(upstream[part])
    assert "PodSecurity" not in warnings


def test_every_change_to_kubeflow_pipelines_hits(upstream):
    named = {(document["kind"], document["metadata"]["name"]): document for document in upstream["manifests/kfp"]}
    assert "seaweedfs" not in str(named), "their object store is left out, with all that points to it"
    assert ("Secret", "mlpipeline-minio-artifact") not in named, "it has a well-known password"
    assert "Namespace" not in {document["kind"] for document in upstream["manifests/kfp/cluster"]}, "base/runs has it"
    launcher = named["ConfigMap", "kfp-launcher"]["data"]
    assert launcher["defaultPipelineRoot"] == "minio://mlpipeline/v2/artifacts"
    minio = yaml.safe_load(launcher["providers"])["minio"]["default"]
    assert minio["endpoint"] == "minio.recycle.svc.cluster.local:9000"
    (server,) = named["Deployment", "ml-pipeline"]["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in server["env"]}
    assert environment["OBJECTSTORECONFIG_HOST"] == "minio.recycle.svc.cluster.local"
    assert "/config/config.json" in [mount["mountPath"] for mount in server["volumeMounts"]]
    assert '"injectUserEnvVars": true' in named["ConfigMap", "recycle-kfp-config"]["data"]["config.json"]
    (page,) = named["Deployment", "ml-pipeline-ui"]["spec"]["template"]["spec"]["containers"]
    assert {entry["name"]: entry.get("value") for entry in page["env"]}["MINIO_NAMESPACE"] == "recycle"
    assert all("valueFrom" not in entry for entry in page["env"] if entry["name"] == "MINIO_NAMESPACE")
    controller = named["ConfigMap", "workflow-controller-configmap"]["data"]
    assert yaml.safe_load(controller["artifactRepository"])["s3"]["endpoint"] == minio["endpoint"]
    defaults = yaml.safe_load(controller["workflowDefaults"])["spec"]["templateDefaults"]
    retries = defaults["retryStrategy"]
    assert retries["retryPolicy"] == "Always"
    assert retries["expression"] == "lastRetry.status == 'Error' || lastRetry.message contains 'exit code 143'"
    (controller,) = named["Deployment", "workflow-controller"]["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in controller["env"]}
    assert 1024**2 < int(environment["MAX_WORKFLOW_SIZE"]) < 1.5 * 1024**2, "etcd takes 1.5 MiB at most"
    assert "TRANSIENT_ERROR_PATTERN" in environment, "theirs stay"
