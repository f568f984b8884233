"""Steps and their pods, found among the nodes of runs that a real KFP ran."""

import pytest
import yaml

from fake_kfp import RECORDED
from pipelines.catalogue import PIPELINES
from pipelines.kfp_models import Run
from pipelines.resources import load_resources
from pipelines.run_steps import node_names, pod_node, states, step_names, step_of_node
from pipelines.upload import compiled

NAMES = step_names(RECORDED["skeleton"])


def tasks_of(name):
    return Run.model_validate(RECORDED["runs"][name]).run_details.task_details


@pytest.mark.parametrize("name", RECORDED["runs"])
def test_the_name_of_every_node_is_found_from_its_id(name):
    tasks = tasks_of(name)
    assert set(node_names(tasks)) == {child.pod_name for task in tasks for child in task.child_tasks}


def test_a_step_leads_to_the_pod_that_ran_it():
    steps = {step.name: step for step in states(tasks_of("failed"), NAMES)}
    # Kubernetes had this id on the pod of `transfer`, and this name.
    assert pod_node(tasks_of("failed"), steps["transfer"]) == "recycle-67n2s-516520777"
    assert step_of_node("recycle-67n2s(0).root(0).exit-handler-1(0).transfer(0).executor(0)") == "transfer"
    # The log of this one was read through the API.
    assert pod_node(tasks_of("failed"), steps["fail-with"]) in RECORDED["logs"]


def test_each_step_has_a_pod_of_its_own():
    tasks = tasks_of("succeeded")
    nodes = [pod_node(tasks, step) for step in states(tasks, NAMES)]
    assert len(set(nodes) - {None}) == len(nodes) == 10


def test_steps_that_were_never_reached_are_left_out():
    assert states(tasks_of("pending"), NAMES) == states(tasks_of("running"), NAMES) == []
    assert {step.name for step in states(tasks_of("stopped"), NAMES)} == {"resolve", "notify"}


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_steps_of_every_pipeline_can_be_told_apart(name):
    spec, _ = yaml.load_all(compiled(name, load_resources()).content, Loader=yaml.CSafeLoader)
    names = step_names(spec)
    assert len(names) == len(spec["deploymentSpec"]["executors"])
    assert len(set(names.values())) == len(names)
