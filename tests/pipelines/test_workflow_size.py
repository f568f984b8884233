"""A run's Workflow stays so small that KFP's run API goes on showing its steps."""

import json
import tempfile
from functools import cache
from pathlib import Path

import pytest
import yaml
from kfp import compiler

from pipelines.parts.catalogue import load_pipeline
from pipelines.parts.resources import load_resources
from tests.support.workflow_size import Values, measure, measure_workflow

RECORDED = json.loads((Path(__file__).parents[1] / "fixtures/workflow_steps.json").read_text(encoding="utf-8"))
"""Four steps of a run on KFP 2.17.0: what their drivers were given, and the bytes of their nodes."""

MEBIBYTE = 1024**2
"""Argo's own MAX_WORKFLOW_SIZE, for clusters where ours is not."""

LONG = Values(
    text="s3://a-bucket-with-a-long-name/checkpoints/organisation/a-model-with-quite-a-long-name-8b-instruct-2026-11",
    listed=("The vocabularies differ in 128 rows, which are taken from the target base.",) * 3,
    metadata="Olmo3ForCausalLM, 7,298,011,136 parameters, BF16"
    + "s3://bucket/recycle/checkpoints/"
    + "0" * 74
    + "n" * 48,
)
BOUNDS = {"recycle": 0.8, "finetune-and-recycle": 1.0, "watch": 0.87}
"""Parts of a mebibyte, without the search of a scale, a box that runs only where it is asked for."""


@cache
def compiled(name, profile):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(load_pipeline(name).build(load_resources(profile)), str(path))
        return tuple(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))


@pytest.mark.parametrize("step", RECORDED["steps"])
def test_the_model_gives_what_a_cluster_wrote(step):
    recorded = RECORDED["steps"][step]
    component, label = recorded["component"], recorded["component"]["executorLabel"]
    called = recorded["task"]["componentRef"]["name"]
    spec = {
        "root": {"dag": {"tasks": {step: recorded["task"]}}},
        "components": {called: component},
        "deploymentSpec": {"executors": {label: {"container": recorded["container"]}}},
    }
    configs = {"deploymentSpec": {"executors": {label: recorded["kubernetes_config"]}}}
    values = Values(
        text="recycled",
        metadata="Olmo2ForCausalLM, 1,374,144 parameters, BF16s3://recycle/store/checkpoints/" + "0" * 72 + "release-1",
    )
    size = measure(spec, {"platforms": {"kubernetes": configs}}, values, RECORDED["pipeline"])[step]
    assert size == pytest.approx(recorded["bytes"], rel=0.05)


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
@pytest.mark.parametrize("name", BOUNDS)
def test_a_run_with_long_names_can_be_followed(name, profile):
    spec, platform = compiled(name, profile)
    steps = measure(spec, platform, LONG, name)
    whole = measure_workflow(spec, platform, LONG, name)
    searched = sum(size for step, size in steps.items() if "search-scale" in step)
    assert (whole - searched) / MEBIBYTE < BOUNDS[name]


def test_a_steps_program_is_one_line():
    spec, _ = compiled("recycle", "cpu")
    for executor in spec["deploymentSpec"]["executors"].values():
        assert executor["container"]["command"][-1].count("\n") == 1
        assert len("".join(executor["container"]["command"])) < 290
