"""The compiled pipelines, as KFP's UI and its local runner take them."""

import inspect

import pytest
import yaml
from kfp import compiler

from pipelines.catalogue import PIPELINES, load_pipeline, parse_parameters

NAMES = sorted(PIPELINES)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def compiled(name, tmp_path):
    path = tmp_path / f"{name}.yaml"
    compiler.Compiler().compile(load_pipeline(name), str(path))
    documents = list(yaml.safe_load_all(path.read_text()))
    return {"spec": documents[0], "platform": documents[1]}


def test_every_parameter_has_a_default_and_is_explained(name, compiled):
    spec = compiled["spec"]
    description = spec["pipelineInfo"]["description"]
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for parameter, definition in parameters.items():
        assert "defaultValue" in definition, parameter
        assert f"{parameter}: " in description, parameter
    assert set(parameters) == set(parse_parameters(name, []))


def test_the_description_is_the_docstring(name, compiled):
    assert compiled["spec"]["pipelineInfo"]["description"] == inspect.getdoc(load_pipeline(name).pipeline_func)


def test_the_flagships_graph_is_flat(tmp_path):
    path = tmp_path / "recycle.yaml"
    compiler.Compiler().compile(load_pipeline("recycle"), str(path))
    spec = next(yaml.safe_load_all(path.read_text()))
    tasks = spec["root"]["dag"]["tasks"]
    for task in tasks.values():
        assert "executorLabel" in spec["components"][task["componentRef"]["name"]]
    shown = {task["taskInfo"]["name"] for task in tasks.values()}
    assert {"resolve", "save source base", "transfer", "evaluate recycled", "compare", "register"} <= shown


def test_every_task_may_run_under_pod_security_restricted(compiled):
    executors = compiled["spec"]["deploymentSpec"]["executors"]
    platform = compiled["platform"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(platform) == set(executors)
    for settings in platform.values():
        assert settings["securityContext"]["runAsNonRoot"] is True
        assert settings["securityContext"]["runAsUser"] == "10001"
    for executor in executors.values():
        assert "pip install" not in " ".join(map(str, executor["container"]["command"]))


def test_nothing_that_the_local_runner_gets_wrong(compiled):
    """Loops take an upstream parameter for the loop's item, and None defaults stop the run."""
    spec = compiled["spec"]
    dags = [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]
    assert not [task for dag in dags for task in dag["tasks"].values() if "parameterIterator" in task]
    defaults = [entry["defaultValue"] for entry in spec["root"]["inputDefinitions"]["parameters"].values()]
    assert None not in defaults
