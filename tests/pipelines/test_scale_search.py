"""`recycle` with a search of λ, through `kfp.local`, on models that answer at one λ alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.errors import BadParameter
from pipelines.parts.catalogue import load_pipeline, parse_parameters
from tests.support.tinymodels import make_checkpoint, read_weights, write_weights
from tests.support.tinysuites import write_suite

COMMAND = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]


@pytest.mark.parametrize("text", ["1", "0.5,0.5", "0.5,1", "0.5,'1.5'", "0.5,\n1.5", "0.5,7"])
def test_what_is_no_search_is_refused_before_anything_starts(text):
    parameters = parse_parameters("recycle", [f"scale_search={text}"])
    with pytest.raises(BadParameter, match="scale_search is"):
        load_pipeline("recycle").check(parameters, here=False)


def teach(folder, questions):
    """Have the checkpoint answer these questions as the suite wants it."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    chats = [
        [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": f"The answer is {row['answer']}."},
        ]
        for row in questions
    ]
    ids = torch.tensor([tokenizer.apply_chat_template(chat, return_dict=False) for chat in chats])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(250):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    state = model.state_dict()
    return {name: state[name].detach().numpy() for name in read_weights(folder)}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three checkpoints whose recycled model is a taught one at λ = 4, and near the bare target at λ = 1."""
    folder = tmp_path_factory.mktemp("world")
    suite = write_suite(
        folder / "suite",
        name="places",
        description="Six questions.",
        task={"description": "Where words live"},
        questions=6,
        tokens=8,
        batch_size=8,
    )
    rows = [json.loads(line) for line in (folder / "suite/tasks/places.jsonl").read_text().splitlines()]
    target = make_checkpoint(folder / "release-2", seed=1, dtype="float32", std=0.02)
    source = make_checkpoint(folder / "release-1", seed=1, dtype="float32", std=0.02)
    bare, taught = read_weights(target), teach(target, rows)
    noise = np.random.default_rng(0)
    old = {name: value + 0.001 * noise.standard_normal(value.shape).astype("f4") for name, value in bare.items()}
    write_weights(source, old, dtype="float32")
    shutil.copytree(source, folder / "tuned")
    tuned = {name: old[name] + (taught[name] - bare[name]) / 4 for name in old}
    write_weights(folder / "tuned", tuned, dtype="float32")
    return {"folder": folder, "suite": suite}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_clearly_better_scale_is_judged_on_the_whole_suite_and_registered_beside_the_main_line(world):
    from mlflow import MlflowClient

    folder = world["folder"]
    given = {
        "source_base": folder / "release-1",
        "source_tuned": folder / "tuned",
        "target_base": folder / "release-2",
        "suite": world["suite"],
        "model_name": "tiny",
        "scale_search": "0.5,4",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RECYCLE_"))}
    done = subprocess.run(
        [
            *COMMAND,
            "run",
            "recycle",
            *(part for key, value in given.items() for part in ("-p", f"{key}={value}")),
            "--json",
        ],
        env=environment | {"RECYCLE_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    outcome = result["outcome"]
    assert outcome["chosen scale"] == 4.0
    assert "λ = 4 scores 100.0 %" in outcome["scale search"]
    assert outcome["scores of recycled at λ 4"]["score"] == 1.0
    assert outcome["scores of recycled"]["score"] == 0.0
    assert "λ = 4" in Path(outcome["scale report"]).read_text()

    assert outcome["passed"] is False, "the main line's verdict stays the run's"
    second, made = outcome["comparison at the chosen scale"], outcome["recycled at the chosen scale"]
    assert second["passed"] is True
    assert "at the scale that was set" in Path(second["report"]).read_text()
    assert (made["aliases"], outcome["aliases"]) == (["candidate", "champion"], ["candidate"])
    assert made["uri"] != outcome["uri"]

    client = MlflowClient(f"sqlite:///{folder}/home/mlflow.db")
    versions = {version.version: version for version in client.search_model_versions("name='tiny'")}
    assert {version.tags["recycle.scale"] for version in versions.values()} == {"1.0", "4.0"}
    assert client.get_model_version_by_alias("tiny", "candidate").tags["recycle.scale"] == "4.0"
    experiment = client.get_experiment_by_name("recycle").experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`recycle.run_id` = '{result['run_id']}'")
    assert (parent.data.tags["gate"], parent.data.tags["gate at the chosen scale"]) == ("failed", "passed")
    assert {"forecast", "forecast reason", "scale search"} <= parent.data.tags.keys()
    assert parent.data.metrics["score_recycled"] == 0.0
    assert parent.data.metrics["score_recycled at the chosen scale"] == 1.0
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "scale search.html", "report at the chosen scale.html", "README.md"} <= names
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    steps = [child.info.run_name for child in children]
    assert len(set(steps)) == len(steps) == len(result["steps"])
    assert {"transfer recycled at λ 0.5", "evaluate recycled at λ 4", "choose the scale"} <= set(steps)
