"""What Kubeflow Pipelines 2.17 cannot do although its compiler and its local runner take it, looked for in every
pipeline and every component.

The sources named are those of https://github.com/kubeflow/pipelines at the tag 2.17.0, backend/src/v2.
"""

import inspect
import types
import typing
from importlib import import_module
from pathlib import Path

import pytest
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.types.type_annotations import InputAnnotation, OutputAnnotation

import components.steps
from tests.pipelines.test_compiled import NAMES, compile_in_memory

STEPS = sorted(
    path.stem
    for path in Path(components.steps.__path__[0]).glob("*.py")
    if isinstance(getattr(import_module(f"components.steps.{path.stem}"), path.stem, None), BaseComponent)
)


def dags_of(spec):
    """Every graph of a pipeline: the name of its component, the definitions of its inputs, and its tasks."""
    parts = {"root": spec["root"], **spec["components"]}
    return [
        (name, part.get("inputDefinitions", {}).get("artifacts", {}), part["dag"]["tasks"])
        for name, part in parts.items()
        if "dag" in part
    ]


@pytest.mark.parametrize("name", NAMES)
class TestPipeline:
    @pytest.fixture
    def dags(self, name):
        return dags_of(compile_in_memory(name)["spec"])

    def test_no_list_of_artifacts_goes_into_a_nested_graph(self, dags):
        """Of the list, the last artifact alone arrives, without an error: metadata/client.go,
        GetInputArtifactsByExecutionID, keeps one artifact by name. Loops and conditions are nested graphs too.
        """
        assert not [
            f"{part}: {artifact}"
            for part, artifacts, _ in dags
            for artifact, definition in artifacts.items()
            if definition.get("isArtifactList")
        ]

    def test_no_artifact_goes_into_a_nested_graph_under_two_names(self, name, dags):
        """It arrives under one of them: GetInputArtifactsByExecutionID finds the name by the artifact's number."""
        nested = {part for part, _, _ in dags}
        for part, _, tasks in dags:
            for task in tasks.values():
                given = task.get("inputs", {}).get("artifacts", {}).values()
                if task["componentRef"]["name"] in nested:
                    sources = [str(source) for source in given]
                    assert len(set(sources)) == len(sources), (part, task["taskInfo"]["name"])

    def test_no_loop_goes_over_artifacts(self, dags):
        """driver/resolve.go: "artifact iterator not implemented yet"."""
        assert not [task for _, _, tasks in dags for task in tasks.values() if "artifactIterator" in task]


@pytest.mark.parametrize("step", STEPS)
def test_an_artifact_that_may_be_missing_is_not_annotated_as_optional(step):
    """The driver sends no artifact's schema title (metadata/client.go, toRuntimeArtifact), so KFP's executor makes an
    instance of what is annotated, and of `Optional[Input[Model]]` there are none; `Input[Model] = None` works.
    """
    function = getattr(import_module(f"components.steps.{step}"), step).python_func
    for name, parameter in inspect.signature(function).parameters.items():
        if typing.get_origin(parameter.annotation) in (typing.Union, types.UnionType):
            inside = str(typing.get_args(parameter.annotation))
            assert InputAnnotation.__name__ not in inside, name
            assert OutputAnnotation.__name__ not in inside, name


def test_the_rules_see_every_step():
    assert {"compare", "evaluate", "finetune", "register", "resolve", "save_checkpoint", "transfer"} <= set(STEPS)
