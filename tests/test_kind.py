"""`manifests/kind-up` and `kind-down`; programs that only tell what they were asked stand for docker and kind."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PASSWORD = "c0ffee"

# What each program answers; all of them write what they were asked into a file first.
ANSWERS = {
    "docker": '[ "$1" != info ] || [ -z "${DOCKER_IS_DOWN:-}" ] || exit 1',
    "kind": """
        case "$*" in
          "get clusters") cat "$STATE/clusters" 2>/dev/null ;;
          "create cluster"*) [ -z "${PORT_TAKEN:-}" ] || { echo "port is already allocated" >&2; exit 1; }
                             echo recycle > "$STATE/clusters" ;;
          "delete cluster"*) rm "$STATE/clusters" ;;
          "get kubeconfig"*) echo "of the cluster recycle" ;;
        esac""",
    "kubectl": f"""
        grep -qx "of the cluster recycle" "$KUBECONFIG" || exit 1
        case "$*" in
          "get deployments --namespace kubeflow"*) echo deployment.apps/ml-pipeline ;;
          "rollout status deployment.apps/ml-pipeline"*) [ -z "${{NOT_READY:-}}" ] || exit 1 ;;
          *go-template*) printf {PASSWORD} ;;
        esac""",
    "git": "",
    "recycle": "",
}


@pytest.fixture
def machine(tmp_path):
    """Runs a script of the manifests on a machine of its own; `asked` is what its programs were asked, in order."""
    programs, state = tmp_path / "bin", tmp_path / "state"
    programs.mkdir()
    state.mkdir()
    for name, answer in ANSWERS.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "$STATE/asked"\n{answer}\n')
        program.chmod(0o755)
    for name in ("sh", "dirname", "date", "sed", "grep", "mktemp", "rm", "cat", "od", "tr", "tail"):
        (programs / name).symlink_to(shutil.which(name))

    class Machine:
        def __init__(self):
            self.programs = programs
            self.told = ""

        def run(self, script, **environment):
            (state / "asked").write_text("")
            settings = {"PATH": str(programs), "STATE": str(state), "RECYCLE": str(programs / "recycle"), **environment}
            done = subprocess.run(
                [ROOT / "manifests" / script], env=settings, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            self.told = done.stdout + done.stderr
            return done.returncode

        def asked(self):
            return (state / "asked").read_text().splitlines()

    return Machine()


def position(lines, start):
    return next(number for number, line in enumerate(lines) if line.startswith(start))


def test_everything_is_made_in_order_and_told(machine):
    assert machine.run("kind-up") == 0, machine.told
    asked = machine.asked()
    order = [
        "docker info",
        "kind create cluster --name recycle --config manifests/overlays/kind/cluster.yaml",
        "docker build --tag recycle/runtime:0.1.0",
        "kind load docker-image recycle/runtime:0.1.0 --name recycle",
        "kind load docker-image recycle/mlflow:0.1.0 --name recycle",
        "kubectl apply --kustomize manifests/overlays/kind --server-side",
        "kubectl apply --server-side --kustomize manifests/kfp/cluster",
        "kubectl wait --for condition=Established",
        "kubectl rollout status deployment.apps/ml-pipeline --namespace kubeflow",
        "recycle upload --endpoint http://localhost:8080",
    ]
    places = [position(asked, start) for start in order]
    assert places == sorted(places)
    assert "kubectl apply --server-side --kustomize manifests/kfp" in asked
    for address in ("http://localhost:8080", "http://localhost:8081", "http://localhost:9001", "http://localhost:9000"):
        assert address in machine.told
    assert machine.told.count(PASSWORD) == 4, "a user and a password, twice"


def test_again_it_makes_no_second_cluster(machine):
    assert machine.run("kind-up") == 0
    assert machine.run("kind-up") == 0
    assert not [line for line in machine.asked() if line.startswith("kind create")]
    assert [line for line in machine.asked() if line.startswith("recycle upload")]


def test_no_other_cluster_is_touched_and_nothing_is_left(machine, tmp_path):
    others = tmp_path / "others"
    others.write_text("of another cluster\n")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    assert machine.run("kind-up", KUBECONFIG=str(others), TMPDIR=str(temporary)) == 0, machine.told
    assert others.read_text() == "of another cluster\n"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("missing", ["docker", "kind", "kubectl", "git"])
def test_a_program_that_is_missing_is_named_with_where_to_get_it(machine, missing):
    (machine.programs / missing).unlink()
    assert machine.run("kind-up") == 1
    assert re.search(rf"^kind-up: {missing} is not installed; see https://", machine.told, re.MULTILINE)
    assert not [line for line in machine.asked() if line.startswith("kind create")]


def test_a_docker_that_does_not_run_is_told(machine):
    assert machine.run("kind-up", DOCKER_IS_DOWN="1") == 1
    assert "docker does not answer; start it" in machine.told
    assert machine.asked() == ["docker info"]
    assert machine.run("kind-down", DOCKER_IS_DOWN="1") == 1
    assert "docker does not answer; start it" in machine.told


def test_a_command_line_that_is_missing_is_told(machine):
    assert machine.run("kind-up", RECYCLE="/not/there/recycle") == 1
    assert "there is no /not/there/recycle; run make kind" in machine.told


def test_a_cluster_that_cannot_be_made_is_told_with_the_ports(machine):
    assert machine.run("kind-up", PORT_TAKEN="1") == 1
    assert "port is already allocated" in machine.told
    assert "8080, 8081, 9000 and 9001 must be free" in machine.told
    assert not [line for line in machine.asked() if line.startswith("kubectl")]


def test_a_pipelines_server_that_does_not_start_is_told(machine):
    assert machine.run("kind-up", NOT_READY="1") == 1
    assert "deployment.apps/ml-pipeline in kubeflow is not ready after 15m; kubectl logs" in machine.told
    assert "kubectl get events --namespace kubeflow --field-selector type=Warning" in "".join(machine.asked())
    assert not [line for line in machine.asked() if line.startswith("recycle")]


class TestSecrets:
    """`manifests/secrets`, with a kubectl that keeps Secrets as files."""

    KUBECTL = """
        import json, os, pathlib, sys, yaml
        arguments = sys.argv[1:]
        option = lambda name: arguments[arguments.index(name) + 1]
        place = lambda namespace, name: pathlib.Path(os.environ["STATE"], f"{namespace}.{name}")
        if arguments[0] in ("create", "apply"):
            asked = yaml.safe_load(sys.stdin)
            made = place(asked["metadata"]["namespace"], asked["metadata"]["name"])
            assert arguments[0] == "apply" or not made.exists()
            made.write_text(json.dumps(asked))
        elif "--field-selector" in arguments:
            found = place(option("--namespace"), option("--field-selector").removeprefix("metadata.name="))
            absent = option("--selector").removeprefix("!")
            if found.exists() and absent not in json.loads(found.read_text())["metadata"].get("labels", {}):
                print("secret/" + found.name)
        else:
            found = place(option("--namespace"), arguments[2])
            if not found.exists():
                sys.exit(0 if "--ignore-not-found" in arguments else 1)
            template = option("--output").split('"')
            values = json.loads(found.read_text())["stringData"]
            print(values[template[1]] if template[1:] else found.name, end="")
        """

    @pytest.fixture
    def secrets(self, machine, tmp_path):
        kubectl = machine.programs / "kubectl"
        kubectl.write_text(f"#!{sys.executable}\n{textwrap.dedent(self.KUBECTL)}")

        def kept(name):
            return json.loads((tmp_path / "state" / name).read_text())["stringData"]

        return kept

    def test_the_copies_follow_an_installation_that_was_made_again(self, machine, secrets, tmp_path):
        assert machine.run("secrets") == 0, machine.told
        before = secrets("kubeflow.recycle-store")
        assert machine.run("secrets") == 0, machine.told
        assert secrets("kubeflow.recycle-store") == before
        for path in (tmp_path / "state").glob("recycle.*"):
            path.unlink()
        assert machine.run("secrets") == 0, machine.told
        key = secrets("recycle.bucket-recycle")["secret-key"]
        assert secrets("kubeflow.recycle-store") == {"AWS_ACCESS_KEY_ID": "recycle-steps", "AWS_SECRET_ACCESS_KEY": key}
        assert key != before["AWS_SECRET_ACCESS_KEY"]
        key = secrets("recycle.bucket-mlpipeline")["secret-key"]
        assert secrets("kubeflow.mlpipeline-minio-artifact") == {"accesskey": "recycle-pipelines", "secretkey": key}

    def test_a_store_of_ones_own_keeps_its_keys(self, machine, secrets, tmp_path):
        own = {"metadata": {"name": "recycle-store"}, "stringData": {"AWS_ACCESS_KEY_ID": "mine"}}
        (tmp_path / "state/kubeflow.recycle-store").write_text(json.dumps(own))
        assert machine.run("secrets") == 0, machine.told
        assert secrets("kubeflow.recycle-store") == own["stringData"]
        assert "it stays" in machine.told

    def test_no_copy_is_made_of_a_key_that_cannot_be_read(self, machine, secrets, tmp_path):
        empty = {"stringData": {"access-key": "recycle-steps", "secret-key": ""}}
        (tmp_path / "state/recycle.bucket-recycle").write_text(json.dumps(empty))
        assert machine.run("secrets") != 0
        assert "recycle/bucket-recycle has no secret-key" in machine.told
        assert not list((tmp_path / "state").glob("kubeflow.*"))


def test_down_removes_the_cluster_and_may_be_run_again(machine):
    assert machine.run("kind-up") == 0
    assert machine.run("kind-down") == 0
    assert "kind delete cluster --name recycle" in machine.asked()
    assert machine.run("kind-down") == 0
    assert "There is no cluster named recycle." in machine.told


SCRIPTS = ("manifests/kind-up", "manifests/kind-down", "manifests/install", "manifests/secrets", "manifests/wait")


@pytest.mark.parametrize("script", [*SCRIPTS, "images/build", "tests/cluster/up"])
def test_scripts_are_sound(script):
    subprocess.run(["sh", "-n", ROOT / script], check=True)
    assert os.access(ROOT / script, os.X_OK)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", ROOT / script], check=True)
