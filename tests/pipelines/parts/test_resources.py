"""What steps ask of a cluster: profiles, files of one's own, single settings."""

import re

import pytest
import yaml
from kubernetes.utils import parse_quantity

from components import __version__
from components.errors import BadParameter
from pipelines.parts.resources import STEPS, load_resources, quantity


def test_the_default_fits_a_laptop():
    resources = load_resources()
    assert set(resources.steps) == set(STEPS)
    for step in resources.steps.values():
        assert step.gpus == 0
        assert quantity(step.cpu) <= 0.5
        assert quantity(step.memory) <= 2 * 2**30
    assert resources.image("transfer") == f"recycle/runtime:{__version__}"


def test_gpus_are_for_the_steps_that_use_them():
    resources = load_resources("gpu", ["registry=ghcr.io/acme"])
    gpus = {name: step.gpus for name, step in resources.steps.items() if step.gpus}
    assert gpus == {"connectivity": 1, "evaluate": 1, "finetune": 4}
    assert resources.image("finetune") == f"ghcr.io/acme/recycle/train:{__version__}"
    assert resources.image("evaluate") == f"ghcr.io/acme/recycle/eval:{__version__}"
    assert resources.image("compare") == f"ghcr.io/acme/recycle/runtime:{__version__}"


def test_one_setting_changes_nothing_else():
    before, after = load_resources("gpu"), load_resources("gpu", ["evaluate.gpus=2"])
    assert after.steps["evaluate"] == before.steps["evaluate"].model_copy(update={"gpus": 2})
    assert {**after.steps, "evaluate": None} == {**before.steps, "evaluate": None}


def test_a_setting_for_every_step_and_what_has_parts():
    resources = load_resources(
        assignments=["*.storage_class=fast", "finetune.node_selector={pool: a100}", "transfer.image=acme/own:1"]
    )
    assert {step.storage_class for step in resources.steps.values()} == {"fast"}
    assert resources.steps["finetune"].node_selector == {"pool": "a100"}
    assert resources.image("transfer") == "acme/own:1"


def test_a_file_of_ones_own_lies_over_a_profile(tmp_path):
    own = tmp_path / "own.yaml"
    content = {"extends": "gpu", "parallelism": 3, "steps": {"default": {"retries": 0}, "finetune": {"gpus": 8}}}
    own.write_text(yaml.safe_dump(content))
    resources, gpu = load_resources(str(own)), load_resources("gpu")
    assert resources.parallelism == 3
    assert resources.steps["finetune"] == gpu.steps["finetune"].model_copy(update={"gpus": 8, "retries": 0})
    assert resources.steps["evaluate"] == gpu.steps["evaluate"].model_copy(update={"retries": 0})


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("evaluate.gpu=2", "no setting 'gpu'"),
        ("evaluates.gpus=2", "the step 'evaluates'"),
        ("evaluate.gpus", "sets nothing"),
        ("gpus=2", "sets nothing"),
        ("evaluate.gpus=-1", "steps.evaluate.gpus"),
        ("evaluate.gpus=two", "steps.evaluate.gpus"),
        ("evaluate.memory=10GB", "steps.evaluate.memory"),
        ("evaluate.memory=10Gi", "promised more memory"),
        ("transfer.memory_limit=4.5Gi", "steps.transfer.memory_limit"),
        ("transfer.memory=500m", "steps.transfer.memory"),
        ("transfer.memory=0", "steps.transfer.memory"),
        ("transfer.cpu=1Gi", "steps.transfer.cpu"),
        ("transfer.scratch=10K", "steps.transfer.scratch"),
        ("transfer.shared_memory=1.5Gi", "steps.transfer.shared_memory"),
        ("transfer.tolerations=[", "not YAML"),
        ("evaluate.gpu_type=h100", "steps.evaluate.gpu_type"),
        ("evaluate.timeout=1", "steps.evaluate.timeout"),
        ("evaluate.tolerations={key: a}", "steps.evaluate.tolerations"),
        ("parallelism=0", "parallelism"),
        ("registry=a b", "registry"),
    ],
)
def test_what_cannot_be_set(assignment, complaint):
    with pytest.raises(BadParameter, match=complaint):
        load_resources(assignments=[assignment])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a: [", "not YAML"),
        ("- a", "not a resource profile"),
        ("steps: 3", "not a resource profile"),
        ("extends: nothing", "no resource profile 'nothing'"),
        ("steps: {evaluate: {gpu: 1}}", "steps.evaluate.gpu: Extra inputs"),
        ("steps: {elsewhere: {gpus: 1}}", "names the step 'elsewhere'"),
        ("extends: own.yaml", "extends itself"),
        ("other: 1", "other: Extra inputs"),
    ],
)
def test_files_that_are_no_profile(content, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(BadParameter, match=complaint):
        load_resources("own.yaml")


@pytest.mark.parametrize("text", ["1073741824", "1048576Ki", "512Mi", "1G", "1T", "1Pi"])
def test_memory_that_is_taken_is_taken_by_kfp_and_by_kubernetes_too(text):
    limits = [f"transfer.{name}={text}" for name in ("memory_limit", "scratch", "shared_memory")]
    settings = load_resources(assignments=["transfer.memory=1Mi", *limits]).steps["transfer"]
    assert re.fullmatch(r"[0-9]+(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki)?", settings.memory_limit)  # KFP 2.17.0's own
    assert quantity(settings.memory_limit) == parse_quantity(settings.memory_limit)


def test_an_unknown_profile_lists_those_there_are():
    with pytest.raises(BadParameter, match=r"'tpu'[\s\S]*cpu, gpu"):
        load_resources("tpu")


@pytest.mark.parametrize(("text", "number"), [("500m", 0.5), ("2", 2), ("1.5Gi", 1.5 * 2**30), ("3M", 3e6)])
def test_quantities(text, number):
    assert quantity(text) == number
