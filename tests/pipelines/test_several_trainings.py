"""The pipelines with several trainings, on tiny models: through `kfp.local`, with real training and evaluation."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tinymodels import make_checkpoint
from tests.support.tinyrecipes import write_recipe
from tests.support.tinysuites import write_suite

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]


class World:
    """Three tiny releases, a suite, a recipe, and a home that runs share."""

    def __init__(self, folder):
        self.folder = folder
        self.bases = [make_checkpoint(folder / f"release-{n}", seed=n, shards=2) for n in (1, 2, 3)]
        task = {"description": "Where words live"}
        suite = write_suite(
            folder / "suite", name="places", description="Six.", task=task, questions=6, tokens=8, batch_size=8
        )
        self.given = {"suite": suite, "recipe": write_recipe(folder)}
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RECYCLE_"))
        }
        self.environment = environment | {"RECYCLE_HOME": str(folder / "home")}

    def command(self, pipeline, **parameters):
        given = {**self.given, **parameters}
        return [*COMMAND, "run", pipeline, *(part for pair in given.items() for part in ("-p", "{}={}".format(*pair)))]

    def run(self, pipeline, **parameters):
        command = [*self.command(pipeline, **parameters), "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def trained(self):
        """How many trainings ever ran to their end, by the metrics that only a running one logs."""
        return sum("loss" in run.data.metrics for run in self.steps() if run.info.run_name.startswith("fine-tune"))

    def steps(self):
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/home/mlflow.db")
        experiment = client.get_experiment_by_name("recycle").experiment_id
        return client.search_runs([experiment], "tags.`recycle.step` != ''", max_results=1000)

    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder}/home/mlflow.db")

    def made(self):
        """Checkpoints of the store by how they were made."""
        manifests = [json.loads(path.read_text()) for path in (self.folder / "home/store").rglob("checkpoint.json")]
        methods = [(one.get("derivation") or {}).get("method", "saved") for one in manifests]
        return {method: methods.count(method) for method in set(methods)}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def grid(world):
    """A run that is killed in its first transfer, and the same command again."""
    bases = ",".join(map(str, world.bases))
    process = subprocess.Popen(
        world.command("grid", bases=bases),
        env=world.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if "→ transfer" in line:
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=120)
    trained = world.trained()
    return {"code": process.returncode, "trained": trained, "result": world.run("grid", bases=bases)}


@pytest.mark.timeout(1800)
def test_a_grid_that_was_stopped_goes_on_and_does_nothing_twice(grid, world):
    assert grid["code"] == 130
    assert grid["trained"] == world.trained() == 3
    assert world.made() == {"saved": 3, "fine-tuning": 3, "fine-tuning transfer": 6}


def test_every_cell_of_the_grid_is_in_the_report_and_in_mlflow(grid, world):
    result = grid["result"]
    labels = ["release-1", "release-2", "release-3"]
    assert {f"score {one} onto {other}" for one in labels for other in labels} <= set(result["outcome"]["metrics"])
    page = Path(result["outcome"]["report"]).read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert len(re.findall("--heat: ", page)) == 2 * 12
    (parent,) = world.client().search_runs(["1"], f"tags.`recycle.run_id` = '{result['run_id']}'")
    assert parent.info.status == "FINISHED"
    assert "score release-1 onto release-3" in parent.data.metrics


@pytest.mark.timeout(1800)
def test_iterative_goes_on_from_what_a_grid_did_and_registers_the_last_model(grid, world):
    bases = ",".join(map(str, world.bases))
    result = world.run("iterative", bases=bases, finetune_directly="true", model_name="along")
    outcome, steps = result["outcome"], {step["step"] for step in result["steps"]}
    assert {"chart stage 2", "chart stage 3", "chart stage 3 with the direct fine-tune", "register"} <= steps
    assert not [step for step in steps if "4" in step]
    assert {f"score tuned {stage}" for stage in (1, 2, 3)} | {"score direct 3"} <= set(outcome["metrics"])
    assert "release-3" in outcome["table"]
    # The first stage's and the direct fine-tune are those of the grid; stages 2 and 3 train from recycled models.
    assert world.trained() == 3 + 2
    version = world.client().get_model_version_by_alias("along", "candidate")
    assert int(version.version) == 1
    assert {"recycle.digest_of_recycled", "recycle.recipe", "recycle.scale"} <= set(version.tags)
    card = Path(world.client().download_artifacts(version.run_id, "README.md")).read_text()
    assert "base_model_relation: finetune" in card
    assert "then fine-tuned by the recipe `two-steps`" in card


@pytest.mark.timeout(1800)
def test_recycle_then_finetune_charts_both_starts_and_registers_what_was_tuned(grid, world):
    tuned = next(run.data.params["uri"] for run in world.steps() if run.info.run_name == "fine-tune release-1")
    result = world.run(
        "recycle-then-finetune",
        source_base=world.bases[0],
        source_tuned=tuned,
        target_base=world.bases[1],
        lengths="0.5",
        model_name="continued",
    )
    outcome, steps = result["outcome"], [step["step"] for step in result["steps"]]
    assert {"fine-tune recycled at 50 percent", "evaluate target base at 50 percent"} <= set(steps)
    assert {"training steps saved", "score recycled then fine-tuned"} <= set(outcome["metrics"])
    page = Path(outcome["report"]).read_text()
    assert [f'<th scope="row">{steps}</th>' in page for steps in (0, 1, 2)] == [True] * 3
    version = world.client().get_model_version_by_alias("continued", "candidate")
    assert version.source == outcome["uri"]
    (charted,) = [run for run in world.steps() if run.info.run_name == "chart the training steps"]
    curve = world.client().get_metric_history(charted.info.run_id, "score from recycled")
    assert sorted(metric.step for metric in curve) == [0, 1, 2]


@pytest.mark.timeout(600)
def test_a_base_that_does_not_fit_stops_the_run_before_anything_is_trained(tmp_path):
    world = World(tmp_path)
    other = make_checkpoint(tmp_path / "other", layers=3)
    command = world.command("grid", bases=f"{world.bases[0]},{other}")
    done = subprocess.run(command, env=world.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "step 'resolve' failed" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
