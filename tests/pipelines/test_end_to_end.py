"""The real thing on tiny models: both pipelines through `kfp.local`, with real training, evaluation and MLflow."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.tinymodels import make_checkpoint
from tests.support.tinyrecipes import write_recipe
from tests.support.tinysuites import write_suite

COMMAND = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]
SECRET = "hunter22-planted-secret"
STEPS = [
    "resolve",
    "save source base",
    "save target base",
    "fine-tune source base",
    "transfer",
    "will it transfer",
    "evaluate target base",
    "evaluate recycled",
    "evaluate source fine-tuned",
    "compare",
    "register",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_checkpoint(folder / "release-1", seed=0, shards=2)
    make_checkpoint(folder / "release-2", seed=1, shards=2)
    suite = write_suite(
        folder / "suite",
        name="places",
        description="Six questions.",
        task={"description": "Where words live"},
        questions=6,
        tokens=8,
        batch_size=8,
    )
    recipe = write_recipe(folder)
    parameters = {
        "source_base": folder / "release-1",
        "target_base": folder / "release-2",
        "suite": suite,
        "recipe": recipe,
        "model_name": "tiny",
    }
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RECYCLE_"))}
    environment |= {"RECYCLE_HOME": str(folder / "home"), "HF_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}
    return {"folder": folder, "arguments": arguments, "environment": environment, "parameters": parameters}


@pytest.fixture(scope="module")
def first(world):
    """A run that is killed with Ctrl-C while it evaluates, and the same command again."""
    command = [*COMMAND, "run", "finetune-and-recycle", *world["arguments"]]
    process = subprocess.Popen(
        command, env=world["environment"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if "→ evaluate" in line:
            time.sleep(3)
            process.send_signal(signal.SIGINT)
            break
    said.append(process.communicate(timeout=60)[0])
    stopped = {"code": process.returncode, "output": "".join(said)}
    done = subprocess.run([*command, "--json"], env=world["environment"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"stopped": stopped, "result": json.loads(done.stdout)}


def test_ctrl_c_says_how_to_go_on(first):
    assert first["stopped"]["code"] == 130, first["stopped"]["output"]
    assert "Run the same command again" in first["stopped"]["output"]
    assert "Traceback" not in first["stopped"]["output"]


def test_nothing_of_the_stopped_run_goes_on_in_the_background(first, world):
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(world["folder"]) not in listed


def test_every_step_ran_once(first):
    steps = first["result"]["steps"]
    assert sorted(step["step"] for step in steps) == sorted(STEPS)
    assert {step["state"] for step in steps} == {"ended"}


def test_the_outcome_is_machine_readable(first):
    outcome = first["result"]["outcome"]
    assert outcome["passed"] is False
    assert "Recycled" in outcome["table"]
    assert outcome["aliases"] == ["candidate"]
    assert Path(outcome["report"]).read_text().startswith("<!DOCTYPE html>")


def test_mlflow_has_a_parent_run_and_one_for_each_step(first, world):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{world['folder']}/home/mlflow.db")
    experiment = client.get_experiment_by_name("recycle").experiment_id
    run_id = first["result"]["run_id"]
    (parent,) = client.search_runs([experiment], f"tags.`recycle.run_id` = '{run_id}'")
    assert parent.info.status == "FINISHED"
    assert {"gate", "gate reason", "digest of recycled", "digest of source base"} <= set(parent.data.tags)
    assert "score_recycled" in parent.data.metrics
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert sorted(child.info.run_name for child in children) == sorted(STEPS)
    assert {child.info.status for child in children} == {"FINISHED"}
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert {"plan.md", "report.html", "report.md", "README.md", "recycled"} <= names


def test_training_was_logged_while_it_ran(world, first):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{world['folder']}/home/mlflow.db")
    experiment = client.get_experiment_by_name("recycle").experiment_id
    trainings = client.search_runs([experiment], "tags.`recycle.step` = 'fine-tune source base'")
    with_loss = [run for run in trainings if "loss" in run.data.metrics]
    assert len(with_loss) == 1, "trained once, reused by the rerun"


def test_the_registered_model_is_a_uri_with_its_lineage(first, world):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{world['folder']}/home/mlflow.db")
    version = client.get_model_version_by_alias("tiny", "candidate")
    assert version.source == first["result"]["outcome"]["uri"]
    assert (Path(version.source.removeprefix("file://")) / "config.json").is_file()
    parents = {key for key in version.tags if key.startswith("recycle.digest_of_")}
    assert parents == {f"recycle.digest_of_{role}" for role in ("source_base", "source_fine_tuned", "target_base")}
    card = Path(client.download_artifacts(version.run_id, "README.md")).read_text()
    assert card.startswith("---\nbase_model:")
    assert "base_model_relation: merge" in card
    assert not list((world["folder"] / "home/mlartifacts").rglob("*.safetensors"))


def test_a_rerun_with_the_target_fine_tuned_too_reuses_what_is_done_and_registers_nothing_twice(first, world):
    from mlflow import MlflowClient

    checkpoints = world["folder"] / "home/store/checkpoints"
    before = {path: path.stat().st_mtime_ns for path in checkpoints.glob("*/*")}
    command = [*COMMAND, "run", "finetune-and-recycle", *world["arguments"], "-p", "finetune_target=true", "--json"]
    again = subprocess.run(command, env=world["environment"], capture_output=True, text=True, check=True)
    result = json.loads(again.stdout)
    outcome, old = result["outcome"], first["result"]["outcome"]
    assert outcome["uri"] == old["uri"]
    assert outcome["metrics"].items() >= old["metrics"].items()
    assert "Target fine-tuned" in outcome["table"]
    assert "arget fine-tuned" in Path(outcome["report"]).read_text()
    assert {path: path.stat().st_mtime_ns for path in checkpoints.glob("*/*")}.items() >= before.items()
    client = MlflowClient(f"sqlite:///{world['folder']}/home/mlflow.db")
    assert len(client.search_model_versions("name='tiny'")) == 1
    experiment = client.get_experiment_by_name("recycle").experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`recycle.run_id` = '{result['run_id']}'")
    assert parent.info.status == "FINISHED"
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "report with the fine-tuned target.html"} <= names


@pytest.mark.parametrize("name", ["recycle", "finetune-and-recycle"])
def test_the_compiled_yaml_runs_again(name, first, world, tmp_path):
    parameters = {key: str(value) for key, value in world["parameters"].items()}
    if name == "recycle":
        parameters.pop("recipe")
        parameters["source_tuned"] = first["result"]["outcome"]["source base fine-tuned"]
    subprocess.run([*COMMAND, "compile", name, "-o", tmp_path / "p.yaml"], check=True, capture_output=True)
    program = (
        "import json, sys\nfrom kfp import components, local\n"
        "local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])\n"
        "components.load_component_from_file(sys.argv[1])(**json.loads(sys.argv[3]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "p.yaml", tmp_path / "root", json.dumps(parameters)],
        env=world["environment"] | {"RECYCLE_RUN_ID": f"again-{name}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert list((tmp_path / "root").rglob("report"))


def test_no_secret_is_written_anywhere(first, world):
    leaks = [
        path
        for path in (world["folder"] / "home").rglob("*")
        if path.is_file() and path.suffix != ".safetensors" and SECRET.encode() in path.read_bytes()
    ]
    assert leaks == []
    assert SECRET not in first["stopped"]["output"] + json.dumps(first["result"])


def test_a_step_that_fails_is_told_with_its_reason(world, first):
    folder = world["folder"] / "broken"
    shutil.copytree(world["folder"] / "release-2", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 2, "num_key_value_heads": 1}))
    arguments = [*world["arguments"], "-p", f"target_base={folder}"]
    ran = subprocess.run(
        [*COMMAND, "run", "finetune-and-recycle", *arguments],
        env=world["environment"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "step 'resolve' failed" in ran.stderr
    assert "num_attention_heads: 4 (source base), 2 (target base)" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
