"""What can be known of manifests without a cluster: each overlay as kustomize builds it."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from components import __version__
from components.settings import VARIABLES
from pipelines.parts.tasks import SECRETS

ROOT = Path(__file__).parent.parent
BUILT = ("manifests/base", "manifests/overlays/kind", "manifests/overlays/gpu", "tests/cluster/manifests")
KNOWN = {variable.name for variable in VARIABLES}
SERVERS = {"minio", "mlflow", "postgres"}

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl, which builds overlays, is not installed")


@cache
def built(overlay):
    """The objects of an overlay, a list of dictionaries."""
    command = ["kubectl", "kustomize", str(overlay)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(overlay, *kinds):
    return [document for document in built(overlay) if document["kind"] in kinds]


def workloads(overlay):
    """Each workload's name, pod template and containers."""
    for document in of_kind(overlay, "Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob", "Pod"):
        template = document["spec"]["template"]
        containers = [*template["spec"]["containers"], *template["spec"].get("initContainers", [])]
        yield document["metadata"]["name"], template, containers


def selects(selector, labels):
    """Whether a label selector of matchLabels and `In` holds for labels."""
    wanted = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return wanted and all(
        rule["operator"] == "In" and labels.get(rule["key"]) in rule["values"]
        for rule in selector.get("matchExpressions", [])
    )


@pytest.mark.parametrize("overlay", BUILT)
class TestOverlay:
    def test_it_has_every_server_and_the_job_that_makes_buckets(self, overlay):
        assert {name for name, _, _ in workloads(overlay)} == {*SERVERS, "buckets"}

    def test_images_are_pinned_and_ours_are_of_this_version(self, overlay):
        for _, _, containers in workloads(overlay):
            for container in containers:
                image, _, tag = container["image"].rpartition(":")
                assert image, container["image"]
                assert tag != "latest"
                if "recycle/" in image and not image.endswith("postgres"):
                    assert tag == __version__

    def test_no_pod_may_do_what_it_need_not(self, overlay):
        for name, template, containers in workloads(overlay):
            pod = template["spec"]
            assert pod["automountServiceAccountToken"] is False, name
            assert pod["enableServiceLinks"] is False, f"{name}: a Service's name would set MLFLOW_PORT in it"
            assert pod["serviceAccountName"] == name
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
            assert not [volume for volume in pod.get("volumes", []) if "hostPath" in volume], name
            assert pod["securityContext"]["runAsNonRoot"] is True, name
            assert pod["securityContext"]["runAsUser"] > 0, name
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            for container in containers:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }, name

    def test_every_container_asks_for_resources_and_has_a_limit(self, overlay):
        for name, _, containers in workloads(overlay):
            for container in containers:
                assert set(container["resources"]["requests"]) == {"cpu", "memory"}, name
                assert "memory" in container["resources"]["limits"], name

    def test_every_server_has_probes_a_network_policy_and_a_disruption_budget(self, overlay):
        for name, template, (container, *_) in workloads(overlay):
            labels = template["metadata"]["labels"]
            policies = of_kind(overlay, "NetworkPolicy")
            assert [policy for policy in policies if selects(policy["spec"]["podSelector"], labels)], name
            if name in SERVERS:
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name
                budgets = of_kind(overlay, "PodDisruptionBudget")
                assert [budget for budget in budgets if selects(budget["spec"]["selector"], labels)], name

    def test_the_services_namespace_is_closed_and_restricted(self, overlay):
        (namespace,) = [
            document for document in of_kind(overlay, "Namespace") if document["metadata"]["name"] == "recycle"
        ]
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        (closed,) = [
            document
            for document in of_kind(overlay, "NetworkPolicy")
            if document["metadata"]["namespace"] == "recycle"
            and document["spec"]["podSelector"] == {}
            and "ingress" not in document["spec"]
            and "egress" not in document["spec"]
        ]
        assert closed["spec"]["policyTypes"] == ["Ingress", "Egress"]

    def test_no_secret_is_among_them_and_those_that_are_asked_for_are_made_by_the_program(self, overlay):
        assert not of_kind(overlay, "Secret")
        asked = set(
            re.findall(r"secret(?:KeyRef|Ref)?'?: {[^}]*'(?:name|secretName)': '([\w-]+)'", str(built(overlay)))
        )
        made = set(re.findall(r"^(?:keep|copy) \w+ ([\w-]+)", (ROOT / "manifests/secrets").read_text(), re.MULTILINE))
        assert {"minio-root", "postgres", "bucket-recycle", "bucket-mlflow", "bucket-mlpipeline"} == asked
        assert asked < made

    def test_steps_find_where_everything_is(self, overlay):
        (settings,) = [
            document for document in of_kind(overlay, "ConfigMap") if document["metadata"]["name"] == "recycle"
        ]
        assert settings["metadata"]["namespace"] == "kubeflow"
        assert {"RECYCLE_STORE", "AWS_ENDPOINT_URL_S3", "MLFLOW_TRACKING_URI"} <= set(settings["data"]) <= KNOWN
        services = {
            f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local:{port['port']}"
            for service in of_kind(overlay, "Service")
            for port in service["spec"]["ports"]
        }
        for name in ("AWS_ENDPOINT_URL_S3", "MLFLOW_TRACKING_URI"):
            assert settings["data"][name].removeprefix("http://") in services


def test_what_may_reach_what_is_said_on_both_sides():
    """Where all is closed, a way that is open at one end alone is no way."""
    labels = {name: template["metadata"]["labels"] for name, template, _ in workloads("manifests/base")}
    policies = [document["spec"] for document in of_kind("manifests/base", "NetworkPolicy")]

    def open_to(direction, peer, here, there):
        """Whether a policy of the pods `here` lets the pods `there` be the other end."""
        return any(
            selects(policy["podSelector"], labels[here])
            and any(
                selects(end.get("podSelector", {"matchLabels": {"no": "pod"}}), labels[there])
                for rule in policy.get(direction, [])
                for end in rule[peer]
            )
            for policy in policies
        )

    for client, server in (("mlflow", "postgres"), ("mlflow", "minio"), ("buckets", "minio")):
        assert open_to("egress", "to", client, server), (client, server)
        assert open_to("ingress", "from", server, client), (client, server)
    assert not open_to("egress", "to", "minio", "postgres")
    assert not open_to("ingress", "from", "postgres", "minio")


def test_the_program_makes_the_secrets_that_steps_look_for():
    text = (ROOT / "manifests/secrets").read_text().replace("\\\n", " ")
    for secret in SECRETS:
        for line in re.findall(rf"^copy kubeflow {secret} .*$", text, re.MULTILINE):
            keys = line.split()[3::2]
            assert keys
            assert set(keys) <= KNOWN
    (store,) = re.findall(r"^copy kubeflow recycle-store (.*)$", text, re.MULTILINE)
    assert store.split()[::2] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]


def test_no_password_is_written_down():
    for path in (ROOT / "manifests").rglob("*"):
        if path.is_file():
            assert not re.search(r"minio123|password: *[^\s{#]|secretkey: *(?!secretkey)\S", path.read_text()), path


def overlay_in(folder, text):
    """An overlay of someone's own, outside this repository, built beside a copy of what is in it."""
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    (folder / "manifests/overlays/own").mkdir()
    (folder / "manifests/overlays/own/kustomization.yaml").write_text(text)
    return folder / "manifests/overlays/own"


def test_a_minio_and_an_mlflow_of_ones_own_can_be_used_by_one_overlay(tmp_path):
    overlay = overlay_in(
        tmp_path,
        """
        apiVersion: kustomize.config.k8s.io/v1beta1
        kind: Kustomization
        resources: [../../base/runs]
        configMapGenerator:
          - name: recycle
            namespace: kubeflow
            behavior: merge
            literals:
              - RECYCLE_STORE=s3://models/recycle
              - AWS_ENDPOINT_URL_S3=https://s3.example.org
              - MLFLOW_TRACKING_URI=https://mlflow.example.org
        generatorOptions: {disableNameSuffixHash: true}
        """,
    )
    assert list(workloads(overlay)) == []
    (settings,) = of_kind(overlay, "ConfigMap")
    assert settings["data"]["AWS_ENDPOINT_URL_S3"] == "https://s3.example.org"
    assert settings["data"]["MLFLOW_TRACKING_URI"] == "https://mlflow.example.org"
    assert settings["data"]["MLFLOW_EXPERIMENT_NAME"] == "recycle"


def test_an_mlflow_of_ones_own_goes_with_our_minio(tmp_path):
    overlay = overlay_in(
        tmp_path,
        """
        apiVersion: kustomize.config.k8s.io/v1beta1
        kind: Kustomization
        resources: [../../base/namespace, ../../base/minio, ../../base/runs]
        configMapGenerator:
          - {name: recycle, namespace: kubeflow, behavior: merge, literals: [MLFLOW_TRACKING_URI=https://mlflow.example.org]}
        generatorOptions: {disableNameSuffixHash: true}
        """,
    )
    assert {name for name, _, _ in workloads(overlay)} == {"minio", "buckets"}
