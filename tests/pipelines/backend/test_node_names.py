"""Steps and their pods, found among the nodes of runs that a real KFP ran."""

import re
from datetime import timedelta

import pytest
import yaml

from pipelines.backend.models import Child, KfpRun
from pipelines.backend.node_names import node_names, pod_node, states, step_names, step_of_node
from pipelines.backend.uploading import compiled
from pipelines.parts.catalogue import PIPELINES
from pipelines.parts.resources import load_resources
from tests.support.fake_kfp import RECORDED

NAMES = step_names(RECORDED["skeleton"])


def tasks_of(name):
    return KfpRun.model_validate(RECORDED["runs"][name]).run_details.task_details


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


def test_iterations_of_a_loop_are_told_apart():
    tasks = tasks_of("succeeded")
    (first,) = [task for task in tasks if task.display_name == "evaluate"]
    times = {"start_time": first.start_time + timedelta(hours=1), "end_time": first.end_time + timedelta(hours=2)}
    second = first.model_copy(update=times | {"child_tasks": (Child(pod_name="recycle-67n2s-1"),)})
    name = NAMES["evaluate"]
    found = {step.name: step for step in states([second, *tasks], NAMES) if step.key == "evaluate"}
    assert list(found) == [name, f"{name} (2)"]
    assert found[name].seconds == first.seconds
    assert found[f"{name} (2)"].seconds > 3600
    assert pod_node(tasks, found[name]) is not None
    assert pod_node(tasks, found[f"{name} (2)"]) is None, "another's log would tell a wrong reason"


def test_a_pipelines_own_names_hold_where_a_part_of_it_calls_its_steps_alike():
    spec, _ = yaml.load_all(compiled("recycle", load_resources()).content, Loader=yaml.CSafeLoader)
    names = step_names(spec)
    assert names["transfer"] == "transfer"
    assert names["choose-scale"] == "choose the scale"


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_every_step_of_every_pipeline_has_a_name(name):
    spec, _ = yaml.load_all(compiled(name, load_resources()).content, Loader=yaml.CSafeLoader)
    dags = [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]
    shown = {task["taskInfo"]["name"] for dag in dags for task in dag["tasks"].values()}
    names = step_names(spec)
    assert set(names.values()) <= shown
    steps = {re.sub(r"^exec-|(-\d+)+$", "", label) for label in spec["deploymentSpec"]["executors"]}
    assert {re.sub(r"(-\d+)+$", "", key) for key in names} == steps
