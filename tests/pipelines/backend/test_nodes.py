"""The nodes of runs that a real KFP ran, from the Workflow and from the API."""

import pytest

from pipelines.backend.models import KfpRun
from pipelines.backend.nodes import Offloaded, node_names, nodes_of_tasks, nodes_of_workflow, parent_of
from tests.support.fake_kfp import RECORDED
from tests.support.kfp_recordings import Recording


def tasks_of(name):
    return KfpRun.model_validate(RECORDED["runs"][name]).run_details.task_details


@pytest.mark.parametrize("name", RECORDED["runs"])
def test_the_name_of_every_node_is_found_from_its_id(name):
    tasks = tasks_of(name)
    assert set(node_names(tasks)) == {child.pod_name for task in tasks for child in task.child_tasks}


@pytest.mark.parametrize("name", ["grid", "watch"])
class TestBothWays:
    def test_compressed_nodes_are_the_same_as_others(self, name):
        recording = Recording(name)
        assert nodes_of_workflow(recording.workflow()) == nodes_of_workflow(recording.workflow(compressed=False))

    def test_the_api_tells_of_the_same_nodes_by_the_same_names(self, name):
        recording = Recording(name)
        there = {node.name: node for node in nodes_of_workflow(recording.workflow())}
        told = nodes_of_tasks(KfpRun.model_validate(recording.run()).run_details.task_details)
        assert len(told) > 70
        for node in told:
            assert there[node.name].id == (node.id or there[node.name].id)
            assert there[node.name].started == node.started

    def test_offloaded_nodes_are_not_taken_for_none(self, name):
        with pytest.raises(Offloaded):
            nodes_of_workflow(Recording(name).workflow(offloaded=True))


def test_a_workflow_that_has_just_begun_has_no_nodes():
    assert nodes_of_workflow({"metadata": {}}) == []


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        ("w", ""),
        ("w(0)", "w"),
        ("w(0).root", "w(0)"),
        ("w.root(0).for-loop-1.iteration-iterations(1:1)(0)", "w.root(0).for-loop-1.iteration-iterations(1:1)"),
        ("w.root.iteration-iterations(12:{a: b})", "w.root.iteration-iterations"),
    ],
)
def test_what_a_node_is_in(name, parent):
    assert parent_of(name) == parent
