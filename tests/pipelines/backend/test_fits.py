"""What a cluster has no room for is refused at submit, and what pods wait for is told while a run is followed."""

import pytest
from click.testing import CliRunner

from components.errors import BadParameter
from pipelines.backend.api import connect
from pipelines.backend.cluster import connect_cluster
from pipelines.backend.fits import check_fits
from pipelines.cli.main import main
from pipelines.parts.resources import load_resources
from tests.support.fake_kfp import FakeKfp, Step, failure, node_id
from tests.support.fake_kubernetes import node, pod, quota, workflow

GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
BIG = {"cpu": "96", "memory": "1056Gi", "nvidia_com__gpu": "8"}


def submit(*arguments, code=0):
    command = ["submit", "recycle", "--no-wait", *arguments]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def refused(kfp, *arguments, told):
    output = submit(*arguments, code=2)
    assert "What to do:" in output
    assert "--no-room-check" in output
    for text in told:
        assert text in output
    assert not kfp.runs
    assert not kfp.pipelines


def test_a_cluster_with_room(kfp, kubernetes):
    assert "Not checked" not in submit()
    kubernetes.nodes.append(node("gpu-1", taints=(GPU_TAINT,), **BIG))
    assert "Not checked" not in submit("--resources", "gpu")
    assert len(kfp.runs) == 2


class TestNoRoom:
    def test_no_gpu_anywhere(self, kfp, kubernetes):
        told = ["asks for 1 nvidia.com/gpu, and no node has more than 0", "node-1: 8 cpu, 33.7 GB memory"]
        refused(kfp, "--resources", "gpu", told=told)

    def test_too_few_gpus_on_each_node(self, kfp, kubernetes):
        kubernetes.nodes += [node(f"gpu-{number}", **BIG) for number in range(2)]
        told = ["evaluate asks for 16 nvidia.com/gpu, and no node has more than 8"]
        refused(kfp, "--resources", "gpu", "--set", "evaluate.gpus=16", told=told)

    def test_another_kind_of_gpu(self, kfp, kubernetes):
        kubernetes.nodes.append(node("gpu-1", **BIG))
        told = ["evaluate asks for 1 amd.com/gpu"]
        refused(kfp, "--resources", "gpu", "--set", "evaluate.gpu_type=amd.com/gpu", told=told)

    def test_a_label_that_no_node_has(self, kfp, kubernetes):
        told = ["transfer asks for a node with the labels pool=fast, and none has them"]
        refused(kfp, "--set", "transfer.node_selector={pool: fast}", told=told)

    def test_more_memory_than_any_node_has(self, kfp, kubernetes):
        more = ("--set", "transfer.memory=512Gi", "--set", "transfer.memory_limit=512Gi")
        refused(kfp, *more, told=["transfer asks for 512Gi memory, and no node has more than 33.7 GB"])

    def test_a_taint_that_is_not_tolerated(self, kfp, kubernetes):
        kubernetes.nodes = [node("gpu-1", taints=(GPU_TAINT,), **BIG)]
        refused(kfp, told=["transfer tolerates the taints of no node", "taint nvidia.com/gpu:NoSchedule"])

    def test_nodes_that_have_one_thing_each(self, kfp, kubernetes):
        kubernetes.nodes.append(node("gpu-1", cpu="2", memory="4Gi", nvidia_com__gpu="8"))
        kubernetes.nodes.append(node("large", cpu="64", memory="512Gi"))
        refused(kfp, "--resources", "gpu", told=["evaluate asks for more than any single node has together: 8 cpu"])

    @pytest.mark.parametrize(
        ("hard", "told"),
        [
            ({"limits_memory": "1Gi"}, "(limits.memory), and the quota small allows 1Gi"),
            ({"requests_cpu": "100m"}, "(requests.cpu), and the quota small allows 100m"),
        ],
    )
    def test_a_quota_that_is_too_small(self, kfp, kubernetes, hard, told):
        kubernetes.quotas = [quota("small", **hard)]
        refused(kfp, told=[told])

    def test_a_cluster_that_adds_nodes_on_demand(self, kfp, kubernetes):
        submit("--resources", "gpu", "--no-room-check")
        assert not kubernetes.seen


class TestNotChecked:
    def test_no_kubeconfig(self, kfp):
        assert "Not checked whether the cluster has room for all steps: " in submit()

    @pytest.mark.parametrize("kind", ["services", "nodes", "resourcequotas"])
    def test_no_rights(self, kfp, kubernetes, kind):
        kubernetes.forbidden = (kind,)
        assert "refuses with status 403" in submit("--resources", "gpu")

    def test_a_cluster_that_is_away(self, kfp, kubernetes):
        kubernetes.close()
        assert "does not answer" in submit("--resources", "gpu")

    def test_kubectl_uses_another_cluster(self, kfp, kubernetes):
        kubernetes.has_kfp = False
        assert "has no Kubeflow Pipelines" in submit("--resources", "gpu")
        assert len(kfp.runs) == 1

    @pytest.mark.parametrize("address", ["http://{host}", "{host}"])
    def test_an_address_elsewhere_need_not_be_of_kubectls_cluster(self, kfp, kubernetes, monkeypatch, address):
        named = "kfp.example:8888"
        connected = connect
        monkeypatch.setattr("pipelines.backend.api.connect", lambda endpoint, namespace: connected(kfp.url, namespace))
        output = submit("--resources", "gpu", "--endpoint", address.format(host=named))
        assert f"need not be the one behind {address.format(host=named)}" in output
        assert len(kfp.runs) == 1
        assert not kubernetes.seen


class TestForwarded:
    @pytest.mark.parametrize("host", ["localhost:8888", "http://127.0.0.1:8888/pipeline", "https://[::1]:8888", None])
    def test_a_port_of_this_machine_leads_to_kubectls_cluster(self, host, kubernetes):
        resources = load_resources("gpu")
        with pytest.raises(BadParameter, match="no room"):
            check_fits(connect_cluster("kubeflow"), host, resources, ["finetune"])


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
        assert output.count("… resolve waits: ImagePullBackOff (recycle/runtime:9)") == 1

    def test_a_pod_that_no_node_takes(self, kfp, kubernetes):
        why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: cpu"}
        stuck = lambda run: pod(run, "evaluate-2.executor", conditions=[why])  # noqa: E731
        assert self.follow(kfp, kubernetes, stuck).count("… evaluate recycled waits: no node takes it: 0/1 nodes") == 1

    def test_a_pod_that_only_starts_is_not_worth_a_word(self, kfp, kubernetes):
        waiting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
        stuck = lambda run: pod(run, "resolve.executor", containerStatuses=[waiting])  # noqa: E731
        assert "waits" not in self.follow(kfp, kubernetes, stuck)

    def test_a_step_whose_pod_cannot_be_made(self, kfp, kubernetes):
        why = 'pods "x" is forbidden: exceeded quota: small'

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
        assert output.count(f"… resolve waits: {why}") == 1
        assert output.count("waits:") == 2

    def test_the_cluster_shows_pods_but_no_workflows(self, kfp, kubernetes):
        kubernetes.forbidden = ("workflows",)
        conditions = [{"reason": "Unschedulable", "message": "0/1 nodes: cpu"}]
        stuck = lambda run: pod(run, "resolve.executor", conditions=conditions)  # noqa: E731
        assert self.follow(kfp, kubernetes, stuck).count("… resolve waits: no node takes it: 0/1 nodes") == 1

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

    def test_a_kfp_of_many_users_is_where_it_is_and_asked_for_ones_own(self, kfp, kubernetes):
        kfp.multi_user = True
        submit("--namespace", "ada")
        assert len(kfp.runs) == 1
        assert [one["namespace"] for one in kfp.experiments.values()] == ["ada"]
        assert "no namespace was given" in submit(code=2)

    def test_not_in_another_namespace(self, kubernetes):
        result = CliRunner().invoke(main, ["runs", "--namespace", "elsewhere"], catch_exceptions=False)
        assert result.exit_code == 2
        assert "has one user, whose runs are in kubeflow, not in elsewhere" in result.output
        assert "What to do:" in result.output
