"""A run's steps, found among the nodes of runs that a real KFP ran."""

import re

import pytest
import yaml

from pipelines.backend.models import KfpRun
from pipelines.backend.nodes import nodes_of_tasks, nodes_of_workflow
from pipelines.backend.steps import step_names, step_of_node, steps_of
from pipelines.backend.uploading import compiled
from pipelines.parts.catalogue import PIPELINES
from pipelines.parts.resources import load_resources
from tests.support.fake_kfp import RECORDED
from tests.support.kfp_recordings import Recording

NAMES = step_names(RECORDED["skeleton"])


def steps(name):
    run = KfpRun.model_validate(RECORDED["runs"][name])
    return {step.name: step for step in steps_of(nodes_of_tasks(run.run_details.task_details), NAMES)}


def test_a_step_leads_to_the_pod_that_ran_it():
    found = steps("failed")
    # Kubernetes had this id on the pod of `transfer`, and this name.
    assert found["transfer"].pod.id == "recycle-67n2s-516520777"
    assert step_of_node("recycle-67n2s(0).root(0).exit-handler-1(0).transfer(0).executor(0)") == found["transfer"].path
    # The log of this one was read through the API.
    assert found["fail-with"].pod.id in RECORDED["logs"]


def test_each_step_has_a_pod_of_its_own():
    found = steps("succeeded").values()
    assert len({step.pod.id for step in found}) == len(found) == 10


def test_steps_that_were_never_reached_are_left_out():
    assert steps("pending") == steps("running") == {}
    assert set(steps("stopped")) == {"resolve", "notify"}


def test_iterations_of_a_loop_bear_their_names():
    recording = Recording("grid")
    found = steps_of(nodes_of_workflow(recording.workflow()), recording.facts["steps"])
    names = [step.name for step in found]
    assert len(names) == len({step.path for step in found}) == 16
    assert names[:6] == [
        "resolve",
        "save release-1",
        "evaluate release-1",
        "fine-tune release-1",
        "evaluate release-1 fine-tuned",
        "save release-2",
    ]
    assert names[-3:] == [f"pick the pair, iteration {number}" for number in (1, 2, 3)]


def test_where_the_api_tells_of_a_loop_its_iterations_have_numbers():
    recording = Recording("grid")
    run = KfpRun.model_validate(recording.run())
    found = steps_of(nodes_of_tasks(run.run_details.task_details), recording.facts["steps"])
    assert [step.name for step in found][:3] == ["resolve", "save, iteration 1", "evaluate bare, iteration 1"]


def test_a_step_has_failed_once_its_pod_has():
    recording = Recording("grid")
    nodes = nodes_of_workflow(recording.workflow(at="15:45:38"))
    assert not any(node.state == "FAILED" and node.name.endswith("pick-pair") for node in nodes)
    last = steps_of(nodes, recording.facts["steps"])[-1]
    assert (last.name, last.state, last.seconds) == ("pick the pair, iteration 1", "FAILED", 6)


def test_a_pod_that_was_ended_from_outside_is_not_the_steps_end():
    recording = Recording("grid", {"(0:0)(0).iteration-item(0).pick-pair(0).executor(0)": {"message": OUTSIDE}})
    last = steps_of(nodes_of_workflow(recording.workflow(at="15:45:38")), recording.facts["steps"])[-1]
    assert (last.state, last.seconds) == ("RUNNING", None)


OUTSIDE = "main: Error (exit code 143)"


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
