"""The compiled pipelines, as KFP's UI and its local runner take them."""

import inspect
import re
import tempfile
from functools import cache
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from kfp import compiler, components

from components.settings import MOUNTS
from pipelines.cli.main import main
from pipelines.parts.catalogue import PIPELINES, load_pipeline, parse_parameters
from pipelines.parts.resources import load_resources

NAMES = sorted(PIPELINES)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def write(name, path, *arguments, **options):
    compiler.Compiler().compile(load_pipeline(name).build(load_resources(*arguments, **options)), str(path))
    return path


@cache
def compile_in_memory(name, profile="cpu", settings=()):
    """The two documents of a pipeline; compiled and read once for all tests, so none may change them."""
    with tempfile.TemporaryDirectory() as folder:
        text = write(name, Path(folder) / "pipeline.yaml", profile, settings).read_text()
    spec, platform = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return {"spec": spec, "platform": platform}


@pytest.fixture
def compiled(name):
    return compile_in_memory(name)


def steps_of(compiled):
    """By executor: the step's name, its container, and its Kubernetes settings."""
    executors = compiled["spec"]["deploymentSpec"]["executors"]
    platform = compiled["platform"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(platform) == set(executors)
    return [
        (re.fullmatch(r"exec-(.*?)(-\d+)*", label)[1], executors[label]["container"], platform[label])
        for label in executors
    ]


def test_every_parameter_has_a_default_and_is_explained(name, compiled):
    spec = compiled["spec"]
    description = spec["pipelineInfo"]["description"]
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for parameter, definition in parameters.items():
        assert "defaultValue" in definition, parameter
        assert f"\n| `{parameter}` | " in description, parameter
    assert set(parameters) == set(parse_parameters(name, []))


def test_kfp_loads_it_as_the_pipeline_and_not_as_a_step_of_the_same_name(name, tmp_path):
    loaded = components.load_component_from_file(str(write(name, tmp_path / "pipeline.yaml")))
    assert set(loaded.component_spec.inputs) == set(parse_parameters(name, []))


def test_the_description_begins_with_what_to_fill_in_and_holds_the_docstring(name, compiled):
    description = compiled["spec"]["pipelineInfo"]["description"]
    assert re.match(r"To .* your own .*, fill in these (two|three). As they are, the demo runs.\n\n\|", description)
    assert inspect.getdoc(load_pipeline(name).function).splitlines()[0] in description


def test_no_description_has_a_sign_that_markdown_would_swallow(compiled):
    shown = re.sub(r"`[^`]*`", "", compiled["spec"]["pipelineInfo"]["description"])
    assert not re.search(r"(?<!\\)[_*]", shown)


def test_the_flagships_graph_is_flat(tmp_path):
    spec = compile_in_memory("recycle")["spec"]
    tasks = spec["root"]["dag"]["tasks"]
    steps = {
        task["taskInfo"]["name"]: "executorLabel" in spec["components"][task["componentRef"]["name"]]
        for task in tasks.values()
    }
    assert {name for name, is_step in steps.items() if not is_step} == {"if a search was asked for"}
    line = {"resolve", "save source base", "transfer", "will it transfer", "evaluate recycled", "compare", "register"}
    assert line <= steps.keys()


def test_a_search_of_the_scale_is_a_box_that_nothing_waits_for(tmp_path):
    spec = compile_in_memory("recycle")["spec"]
    tasks = spec["root"]["dag"]["tasks"]
    (box,) = (key for key, task in tasks.items() if task["taskInfo"]["name"] == "if a search was asked for")
    assert "scale_search'] != ''" in tasks[box]["triggerPolicy"]["condition"]
    assert "register" in tasks[box]["dependentTasks"], "its model is registered after the main line's"
    assert not [key for key, task in tasks.items() if box in task.get("dependentTasks", ())]
    inside = {
        task["taskInfo"]["name"]
        for part in spec["components"].values()
        for task in part.get("dag", {}).get("tasks", {}).values()
    }
    assert {"each scale", "transfer at another scale", "choose the scale", "if another scale is better"} <= inside
    assert not [name for name in inside if "channel" in name]


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
class TestEveryTask:
    @pytest.fixture
    def steps(self, name, profile, tmp_path):
        return steps_of(compile_in_memory(name, profile))

    def test_it_may_run_under_pod_security_restricted(self, steps):
        for _, container, settings in steps:
            assert settings["securityContext"] == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
            assert "pip install" not in " ".join(map(str, container["command"]))

    def test_it_asks_for_what_its_profile_says(self, steps, profile):
        profiles = load_resources(profile)
        for step, container, settings in steps:
            asked = profiles.steps[step]
            assert container["image"] == profiles.image(step)
            assert not container["image"].endswith(":latest")
            resources = container["resources"]
            assert (resources["resourceCpuRequest"], resources["resourceCpuLimit"]) == (asked.cpu, asked.cpu_limit)
            assert resources["resourceMemoryLimit"] == asked.memory_limit
            gpus = resources.get("accelerator", {})
            assert (gpus.get("resourceType"), gpus.get("resourceCount")) == (
                (asked.gpu_type, str(asked.gpus)) if asked.gpus else (None, None)
            )
            assert settings["activeDeadlineSeconds"] == str(asked.timeout_s)
            assert settings["imagePullPolicy"] == "IfNotPresent"
            mounts = {mount["mountPath"]: mount for mount in settings["emptyDirMounts"]}
            assert mounts["/scratch"]["sizeLimit"] == asked.scratch
            assert ("/dev/shm" in mounts) == bool(asked.shared_memory)

    def test_it_learns_from_the_cluster_where_services_are(self, steps):
        for step, container, settings in steps:
            (places,) = settings["configMapAsVolume"]
            assert (places["configMapName"], places["optional"]) == ("recycle", True)
            names = ["recycle-store", "recycle-hub"] + (
                ["recycle-webhook"] if step in ("find-release", "record-release") else []
            )
            secrets = settings["secretAsVolume"]
            assert [secret["secretName"] for secret in secrets] == names
            assert all(secret["optional"] for secret in secrets)
            for volume, name in zip([places, *secrets], ["recycle", *names], strict=True):
                assert volume["mountPath"] == str(MOUNTS / name)
            # Where KFP's MLflow plugin sets one of these too, no pod can be made.
            assert not {"configMapAsEnv", "secretAsEnv"} & set(settings)
            fields = {field["name"]: field["fieldPath"] for field in settings["fieldPathAsEnv"]}
            assert fields["RECYCLE_RUN_ID"] == "metadata.labels['pipeline/runid']"
            assert ("RECYCLE_SCRATCH_EVALUATE" in fields) == (step == "resolve")
            # They would reach the steps of a run on one machine too, and an unresolved channel goes unnoticed.
            assert "env" not in container


def test_a_second_try_may_take_as_long_as_the_first(tmp_path):
    spec = compile_in_memory("finetune-and-recycle", "gpu")["spec"]
    policy = spec["root"]["dag"]["tasks"]["finetune"]["retryPolicy"]
    timeout = load_resources("gpu").steps["finetune"].timeout_s
    assert int(policy["backoffMaxDuration"].removesuffix("s")) > (policy["maxRetryCount"] + 1) * timeout


def test_kfp_caches_nothing(compiled):
    """The store answers by digest, and looks whether a result is still there; KFP's cache does not."""
    for dag in dags_of(compiled):
        assert not [name for name, task in dag["tasks"].items() if task.get("cachingOptions", {}).get("enableCache")]


def test_compiling_again_gives_the_same_bytes(name, tmp_path):
    assert write(name, tmp_path / "one.yaml").read_bytes() == write(name, tmp_path / "two.yaml").read_bytes()


def test_one_setting_changes_one_step(name, tmp_path):
    before = compile_in_memory(name)
    after = compile_in_memory(name, "cpu", ("evaluate.memory_limit=8Gi",))
    changed = [one[0] for one, other in zip(steps_of(before), steps_of(after), strict=True) if one != other]
    assert set(changed) == {"evaluate"}


def test_a_volume_of_a_class_or_of_ones_own_takes_the_place_of_the_nodes_disk(tmp_path):
    classy = steps_of(compile_in_memory("recycle", "cpu", ("evaluate.storage_class=fast",)))
    (volume,) = next(settings["genericEphemeralVolume"] for step, _, settings in classy if step == "evaluate")
    assert (volume["storageClassName"], volume["size"], volume["mountPath"]) == ("fast", "5Gi", "/scratch")
    own = steps_of(compile_in_memory("recycle", "cpu", ("evaluate.scratch_claim=kept",)))
    (claim,) = next(settings["pvcMount"] for step, _, settings in own if step == "evaluate")
    assert (claim["constant"], claim["mountPath"]) == ("kept", "/scratch")


def dags_of(compiled):
    spec = compiled["spec"]
    return [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]


def loops_of(compiled):
    return [task for dag in dags_of(compiled) for task in dag["tasks"].values() if "parameterIterator" in task]


def test_no_loop_takes_a_parameter_of_a_step_before_it(compiled):
    """The local runner hands the loop's item on in the place of one; only the items themselves may come from a step."""
    for loop in loops_of(compiled):
        items = loop["parameterIterator"]["items"].get("inputParameter")
        for name, given in loop["inputs"]["parameters"].items():
            assert name == items or "taskOutputParameter" not in given, (name, given)


def test_no_loop_is_directly_within_another(compiled):
    """The local runner finds the outer one's item no more; through a pipeline of its own it does."""
    parts = compiled["spec"]["components"]
    for loop in loops_of(compiled):
        inner = parts[loop["componentRef"]["name"]]["dag"]["tasks"].values()
        assert not [task for task in inner if "parameterIterator" in task]


def test_no_condition_is_within_a_loop(compiled):
    """On a part of a loop's item, the local runner takes any for false."""
    parts = compiled["spec"]["components"]
    for loop in loops_of(compiled):
        inner = parts[loop["componentRef"]["name"]]["dag"]["tasks"].values()
        assert not [task for task in inner if "condition" in task.get("triggerPolicy", {})]


WITHOUT_QUOTATION_MARKS = ("pipelinechannel--scale_search",)
"""Texts that are numbers and commas: anything else is refused before the first step."""


def test_no_condition_is_on_a_text(compiled):
    """The local runner skips a condition, with a warning alone, where the text has a quotation mark in it."""
    for dag in dags_of(compiled):
        for task in dag["tasks"].values():
            condition = task.get("triggerPolicy", {}).get("condition", "")
            names = re.findall(r"parameter_values\['([^']+)'\]", condition)
            compared = re.sub(r"parameter_values\['[^']+'\]", "", condition)
            assert "'" not in compared or set(names) <= set(WITHOUT_QUOTATION_MARKS), condition


def test_conditions_are_on_parameters_or_on_outputs_of_one_name(compiled):
    """The local runner takes a condition for false where it is on a task's output that is not called `Output`."""
    for dag in dags_of(compiled):
        for task in dag["tasks"].values():
            condition = task.get("triggerPolicy", {}).get("condition", "")
            for name, given in task.get("inputs", {}).get("parameters", {}).items():
                if f"'{name}'" in condition:
                    assert given.get("taskOutputParameter", {}).get("outputParameterKey", "Output") == "Output"


def test_no_default_is_none(compiled):
    """The local runner stops at one."""
    defaults = [entry["defaultValue"] for entry in compiled["spec"]["root"]["inputDefinitions"]["parameters"].values()]
    assert None not in defaults


@pytest.mark.parametrize(("name", "loops"), [("grid", 2), ("recycle-then-finetune", 2), ("recycle", 1), ("watch", 0)])
def test_as_many_iterations_run_side_by_side_as_the_profile_says(name, loops, tmp_path):
    found = loops_of(compile_in_memory(name, "cpu", ("parallelism=3",)))
    assert [loop["iteratorPolicy"]["parallelismLimit"] for loop in found] == [3] * loops


@pytest.mark.parametrize("name", ["grid", "iterative", "recycle-then-finetune"])
def test_every_box_of_a_graph_has_a_name_for_people(name, tmp_path):
    shown = {task["taskInfo"]["name"] for dag in dags_of(compile_in_memory(name)) for task in dag["tasks"].values()}
    assert not {box for box in shown if box.startswith(("for-loop", "condition"))}


def test_the_help_names_every_pipeline():
    told = CliRunner().invoke(main, ["run", "--help"]).output
    assert all(re.search(rf" {name}(,| or|\.)", " ".join(told.split())) for name in PIPELINES)
