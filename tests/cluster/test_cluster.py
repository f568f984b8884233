"""Every step as a pod on a real cluster, with what the manifests set up there; `make test-cluster` brings that up."""

import json
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time

import pytest

from pipelines.parts.catalogue import load_pipeline
from tests.cluster.pods import ARTIFACTS, NAMESPACE
from tests.support.releases_world import make_world, near
from tests.support.tinymodels import make_checkpoint
from tests.support.tinyrecipes import write_recipe
from tests.support.tinysuites import write_suite

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture
def folder(cluster):
    """A place that pods can read."""
    made = ARTIFACTS / f"world-{secrets.token_hex(3)}"
    yield made
    shutil.rmtree(made)


@pytest.fixture
def suite(folder):
    return write_suite(
        folder / "suite",
        name="places",
        description="Six questions.",
        task={"description": "Where words live"},
        questions=6,
        tokens=8,
        batch_size=8,
    )


@pytest.fixture
def world(folder, suite):
    """Two tiny releases, a recipe and a suite, as the pipeline's arguments; new bytes each time."""
    seed = secrets.randbelow(2**31)
    for number, release in enumerate(("source_base", "target_base")):
        make_checkpoint(folder / release, seed=seed + number, shards=2)
    return {
        "source_base": str(folder / "source_base"),
        "target_base": str(folder / "target_base"),
        "suite": str(suite),
        "recipe": str(write_recipe(folder)),
    }


def test_finetune_and_recycle_to_a_registered_model(runner, mlflow_client, world):
    name = f"cluster-{secrets.token_hex(3)}"
    run = runner(load_pipeline("finetune-and-recycle"))
    run.run(world | {"model_name": name})
    assert [ran.phase for ran in run.tasks] == ["Succeeded"] * len(run.tasks)
    assert {re.sub(r"-\d+$", "", ran.task) for ran in run.tasks} == {
        *("resolve", "save-checkpoint", "finetune", "transfer", "connectivity", "evaluate", "compare", "register")
    }
    version = mlflow_client.get_model_version_by_alias(name, "candidate")
    assert version.source.startswith("s3://recycle/store/") or "s3://recycle/store/" in str(version.tags)
    small = [path for path in (ARTIFACTS / run.run_id).rglob("*") if path.is_file()]
    assert small
    assert max(path.stat().st_size for path in small) < 5_000_000, "weights go through MinIO alone"
    experiment = mlflow_client.get_experiment_by_name("recycle").experiment_id
    (parent,) = mlflow_client.search_runs([experiment], f"tags.`kfp.pipeline_run_id` = '{run.run_id}'")
    assert "report.html" in [file.path.split("/")[-1] for file in walk(mlflow_client, parent.info.run_id)]


def test_a_tick_of_watch_recycles_onto_a_release_and_the_next_one_finds_nothing_to_do(
    runner, mlflow_client, folder, suite
):
    world, name = make_world(folder / "world", seed=secrets.randbelow(2**31)), f"watched-{secrets.token_hex(3)}"
    near(world / "base", world / "releases/r1", seed=2)
    make_checkpoint(world / "releases/wide", seed=3, hidden=64)
    given = {"releases": str(world / "releases"), "suite": str(suite), "model_name": name}
    given |= {"source_base": str(world / "base"), "source_tuned": str(world / "tuned")}
    first, second = runner(load_pipeline("watch")), runner(load_pipeline("watch"))
    first.run(given)
    assert [ran.phase for ran in first.tasks] == ["Succeeded"] * len(first.tasks)
    assert {"find-release", "transfer", "register", "record-release"} <= {ran.task for ran in first.tasks}
    version = mlflow_client.get_model_version_by_alias(name, "candidate")
    assert int(version.version) == 1
    second.run(given)
    assert [(ran.task, ran.phase) for ran in second.tasks] == [("find-release", "Succeeded")]
    (seen,) = (ARTIFACTS / second.run_id).glob("*/find-release/seen")
    assert "1 done, 1 incompatible" in seen.read_text()


def walk(client, run_id, path=None):
    for file in client.list_artifacts(run_id, path):
        yield file
        if file.is_dir:
            yield from walk(client, run_id, file.path)


@pytest.fixture(scope="session")
def expected(larger_models, tmp_path_factory):
    """The digest of the same transfer, done by one process into a folder."""
    output = tmp_path_factory.mktemp("here") / "recycled"
    command = [sys.executable, "-m", "pipelines.cli.main", "transfer", *larger_models.values(), str(output)]
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


def test_a_transfer_whose_pod_is_killed_ends_the_same(move, larger_models, expected, cluster):
    run = move(retries=1)

    def kill(pod):
        cluster.CoreV1Api().delete_namespaced_pod(pod, NAMESPACE, grace_period_seconds=0)

    killer = when_it_writes(run, "transfer", kill)
    run.run(larger_models)
    killer.join(timeout=5)
    (transferred,) = [ran for ran in run.tasks if ran.task == "transfer"]
    assert len(transferred.pods) == 2, "the pod ended before it could be killed"
    assert digest_of(run) == expected


def test_minio_is_deleted_while_a_transfer_runs(move, larger_models, expected, cluster):
    run = move()
    deleted = []

    def delete(pod):
        cluster.CoreV1Api().delete_namespaced_pod("minio-0", "recycle", grace_period_seconds=0)
        deleted.append(pod)

    killer = when_it_writes(run, "transfer", delete)
    run.run(larger_models)
    killer.join(timeout=5)
    assert deleted
    assert digest_of(run) == expected
