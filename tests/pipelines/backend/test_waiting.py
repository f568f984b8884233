"""GPUs that a cluster does not have are refused at submit, and what pods wait for is told while a run is followed."""

import pytest
from click.testing import CliRunner

from components.errors import BadParameter
from pipelines.backend.api import connect
from pipelines.backend.cluster import connect_cluster
from pipelines.backend.gpus import check_gpus
from pipelines.cli.main import main
from pipelines.parts.resources import load_resources
from tests.support.fake_kfp import FakeKfp, Step, failure, node_id
from tests.support.fake_kubernetes import node, pod, workflow

BIG = {"cpu": "96", "memory": "1056Gi", "nvidia_com__gpu": "8"}


def submit(*arguments, code=0):
    command = ["submit", "recycle", "--no-wait", *arguments]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_a_gpu_that_no_node_has_is_refused(kfp, kubernetes):
    output = submit("--resources", "gpu", code=2)
    assert "evaluate asks for 1 nvidia.com/gpu, and no node has more than 0" in output
    assert "What to do:" in output
    assert "--no-gpu-check" in output
    assert not kfp.runs
    assert not kfp.pipelines


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("evaluate.gpus=16", "evaluate asks for 16 nvidia.com/gpu, and no node has more than 8"),
        ("evaluate.gpu_type=amd.com/gpu", "evaluate asks for 1 amd.com/gpu, and no node has more than 0"),
    ],
)
def test_too_few_gpus_or_another_kind(kfp, kubernetes, change, told):
    kubernetes.nodes += [node(f"gpu-{number}", **BIG) for number in range(2)]
    assert told in submit("--resources", "gpu", "--set", change, code=2)


def test_a_cluster_that_has_them_or_adds_nodes_on_demand(kfp, kubernetes):
    submit("--resources", "gpu", "--no-gpu-check")
    assert not kubernetes.seen
    kubernetes.nodes.append(node("gpu-1", **BIG))
    submit("--resources", "gpu")
    submit()
    assert len(kfp.runs) == 3


class TestNotChecked:
    @pytest.mark.parametrize("kind", ["services", "nodes"])
    def test_no_rights(self, kfp, kubernetes, kind):
        kubernetes.forbidden = (kind,)
        submit("--resources", "gpu")
        assert len(kfp.runs) == 1

    def test_a_cluster_that_is_away(self, kfp, kubernetes):
        kubernetes.close()
        submit("--resources", "gpu")
        assert len(kfp.runs) == 1

    def test_kubectl_uses_another_cluster(self, kfp, kubernetes):
        kubernetes.has_kfp = False
        submit("--resources", "gpu")
        assert len(kfp.runs) == 1

    @pytest.mark.parametrize("address", ["http://kfp.example:8888", "kfp.example:8888"])
    def test_an_address_elsewhere_need_not_be_of_kubectls_cluster(self, kfp, kubernetes, monkeypatch, address):
        connected = connect
        monkeypatch.setattr("pipelines.backend.connect", lambda endpoint, namespace: connected(kfp.url, namespace))
        submit("--resources", "gpu", "--endpoint", address)
        assert not kubernetes.seen
        assert len(kfp.runs) == 1


@pytest.mark.parametrize("host", ["localhost:8888", "http://127.0.0.1:8888/pipeline", "https://[::1]:8888", None])
def test_a_port_of_this_machine_leads_to_kubectls_cluster(host, kubernetes):
    with pytest.raises(BadParameter, match="too few GPUs"):
        check_gpus(connect_cluster("kubeflow"), host, load_resources("gpu"), ["finetune"])


class TestWhatPodsWaitFor:
    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch):
        monkeypatch.setattr("pipelines.backend.following.WAITING_S", 0.0)

    def follow(self, kfp, kubernetes, *pods):
        """Follow a run of which a step is stuck until it was looked at a few times."""
        kfp.steps = {"resolve": Step(stuck=True)}

        def on_tick(run):
            kubernetes.pods = [make(run.document["run_id"]) for make in pods]
            if len(kubernetes.asked("GET", ".*/pods")) > 3:
                kfp.steps = {}

        kfp.on_tick = on_tick
        result = CliRunner().invoke(main, ["submit", "recycle"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    @pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImagePull"])
    def test_an_image_that_is_not_found(self, kfp, kubernetes, reason):
        waiting = {"image": "recycle/runtime:9", "state": {"waiting": {"reason": reason, "message": "not found"}}}
        stuck = lambda run: pod(run, "resolve(0).executor(0)", containerStatuses=[waiting])  # noqa: E731
        output = self.follow(kfp, kubernetes, stuck)
        (run,) = kfp.runs
        line = (
            "  … resolve waits: its image recycle/runtime:9 cannot be pulled. Push the image, or correct its name with "
            f"--set registry=…; `recycle runs stop {run}` ends the run\n"
        )
        assert output.count(line) == 1

    def test_a_pod_that_no_node_takes(self, kfp, kubernetes):
        why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: cpu"}
        stuck = lambda run: pod(run, "evaluate-2.executor", conditions=[why])  # noqa: E731
        output = self.follow(kfp, kubernetes, stuck)
        assert output.count("… evaluate recycled waits: no node can take it: 0/1 nodes: cpu. Free or add a node") == 1

    def test_a_wait_is_told_again_after_a_while(self, kfp, kubernetes, monkeypatch):
        monkeypatch.setattr("pipelines.backend.following.REMIND_S", 0.0)
        why = {"reason": "Unschedulable", "message": "0/1 nodes: cpu"}
        stuck = lambda run: pod(run, "evaluate-2.executor", conditions=[why])  # noqa: E731
        assert self.follow(kfp, kubernetes, stuck).count("… evaluate recycled waits: no node can take it") > 1

    def test_a_pod_that_only_starts_is_not_worth_a_word(self, kfp, kubernetes):
        waiting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
        stuck = lambda run: pod(run, "resolve.executor", containerStatuses=[waiting])  # noqa: E731
        assert "waits" not in self.follow(kfp, kubernetes, stuck)

    def test_a_step_whose_pod_cannot_be_made(self, kfp, kubernetes):
        why = 'pods "x" is forbidden: exceeded quota: small, requested: cpu=1'

        def stuck(run):
            conditions = [{"reason": "Unschedulable", "message": "0/1 nodes: cpu"}]
            kubernetes.workflows = [
                workflow(
                    run,
                    ("resolve.executor", "Pending", why),
                    ("evaluate.executor", "Running", "all is well"),
                    ("evaluate-2.executor", "Pending", "Unschedulable: told by the pod already"),
                ),
                workflow("another run", ("transfer.executor", "Pending", why)),
            ]
            return pod(run, "evaluate-2.executor", conditions=conditions)

        output = self.follow(kfp, kubernetes, stuck)
        assert output.count("… resolve waits: the namespace's quota small is used up. Wait until other pods end") == 1
        assert output.count("waits:") == 2

    def test_the_cluster_shows_pods_but_no_workflows(self, kfp, kubernetes):
        kubernetes.forbidden = ("workflows",)
        conditions = [{"reason": "Unschedulable", "message": "0/1 nodes: cpu"}]
        stuck = lambda run: pod(run, "resolve.executor", conditions=conditions)  # noqa: E731
        assert self.follow(kfp, kubernetes, stuck).count("… resolve waits: no node can take it: 0/1 nodes") == 1

    def test_the_cluster_does_not_let_us_look(self, kfp, kubernetes):
        kubernetes.forbidden = ("pods",)
        assert "waits" not in self.follow(kfp, kubernetes)


def test_a_log_comes_from_the_pod_where_the_api_has_none(kfp, kubernetes):
    kfp.is_ui = True  # passes everything on but logs
    kfp.steps = {"resolve": Step(state="FAILED", log="")}
    name = "resolve(0).executor(0)"
    found = node_id(FakeKfp.WORKFLOW, f"{FakeKfp.WORKFLOW}(0).root(0).{name}")

    def on_tick(run):
        kubernetes.pods = [pod(run.document["run_id"], name, node_id=found, phase="Failed")]
        kubernetes.logs = {kubernetes.pods[0]["metadata"]["name"]: failure("resolve", "no such model", "name another")}

    kfp.on_tick = on_tick
    result = CliRunner().invoke(main, ["submit", "recycle"], catch_exceptions=False)
    assert result.exit_code == 1
    assert "step 'resolve' failed: no such model" in result.output


class TestThroughTheKubeconfig:
    @pytest.fixture(autouse=True)
    def _no_endpoint(self, kubernetes, monkeypatch):
        monkeypatch.delenv("KF_PIPELINES_ENDPOINT")

    def test_kfp_is_found(self, kfp, kubernetes):
        kfp.token = "of-the-kubeconfig"
        submit()
        assert len(kfp.runs) == 1
        assert not kfp.seen

    def test_a_token_for_kfp_leads_no_other_way(self, kfp, kubernetes, monkeypatch):
        monkeypatch.setenv("KFP_EXISTING_TOKEN", "of-kfp")
        kfp.token = "of-the-kubeconfig"
        submit()
        assert len(kfp.runs) == 1

    def test_a_kfp_of_many_users_is_where_it_is_and_asked_for_ones_own(self, kfp, kubernetes):
        kfp.multi_user = True
        submit("--namespace", "ada")
        assert len(kfp.runs) == 1
        assert [one["namespace"] for one in kfp.experiments.values()] == ["ada"]
        assert "no namespace was given" in submit(code=2)

    def test_not_in_another_namespace(self, kubernetes):
        result = CliRunner().invoke(main, ["runs", "--namespace", "elsewhere"], catch_exceptions=False)
        assert result.exit_code == 2
        assert "in single-user mode: its runs are in kubeflow, not in elsewhere" in result.output
        assert "What to do:" in result.output
