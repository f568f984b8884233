"""OLMES itself, on tiny models and local data."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from components.errors import BadParameter, ProgramFailed
from components.evaluate.harness import evaluate, find_harness
from components.evaluate.olmes.command import command, environment, group_tasks
from components.evaluate.olmes.environment import find_olmes, find_subtasks
from components.evaluate.suite import load_suite
from tests.support.olmes_checkout import by_hand, needs_olmes, use_olmes, write_arc, write_gsm8k, write_math
from tests.support.tinymodels import make_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_olmes]


@pytest.fixture(autouse=True)
def _olmes(monkeypatch):
    use_olmes(monkeypatch)


def write_suite(folder, *, settings=None, **tasks):
    """A suite of tasks with local data; `tasks` gives each what differs from the default."""
    content = {
        "name": "local",
        "description": "Local data.",
        "harness": "olmes",
        "tasks": [{"description": "d", **task} for task in tasks.values()],
        "settings": {"add_bos_token": True, "batch_size": 8, "dtype": "bfloat16"} | (settings or {}),
    }
    (folder / "local.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "local.yaml")


def ask(model, suite, scratch):
    loaded = load_suite(suite)
    return evaluate(
        model=model,
        model_name=model.name,
        model_digest="0" * 64,
        suite=loaded,
        harness=find_harness(loaded),
        scratch=scratch,
    )


def predictions(output, name):
    path = next(output.glob(f"task-*-{name}-predictions.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_scores_are_those_of_running_it_by_hand_and_never_another_models(tmp_path):
    data = tmp_path / "data"
    # This model always says word52, in which OLMES reads the number 52.
    write_gsm8k(data / "gsm8k", ["52", "1", "52", "2", "52", "3"])
    write_arc(data / "arc")
    write_math(data / "math")
    suite = write_suite(
        tmp_path,
        gsm8k={"name": "gsm8k::tulu", "data": "data/gsm8k", "limit": 4},
        arc={"name": "arc_challenge:mc::olmes", "data": "data/arc", "model_type": "hf"},
        math={"name": "minerva_math::tulu", "data": "data/math", "limit": 2},
    )
    model = make_checkpoint(tmp_path / "model", architecture="olmo2", seed=1)
    scratch = tmp_path / "scratch"
    found = ask(model, suite, scratch)

    hand = tmp_path / "hand"
    scores = {
        **by_hand(hand, model=model, task="gsm8k::tulu", output=hand / "g", dataset_path=str(data / "gsm8k"), limit=4),
        **by_hand(hand, model=model, task="arc_challenge:mc::olmes", output=hand / "a", dataset_path=str(data / "arc")),
        **by_hand(
            hand, model=model, task="minerva_math::tulu", output=hand / "m", dataset_path=str(data / "math"), limit=2
        ),
    }
    assert {task.task: task.score for task in found.tasks} == {task.task: scores[task.task] for task in found.tasks}
    assert 0 < found.tasks[0].score < 1
    assert [task.samples for task in found.tasks] == [4, 8, 13]
    replies = [sample.reply for sample in found.samples if sample.task == "gsm8k::tulu"]
    assert replies == [row["model_output"][0]["continuation"] for row in predictions(hand / "g", "gsm8k")]
    assert found.harness.startswith("OLMES ")
    assert "transformers 4." in found.harness
    assert list(scratch.iterdir()) == []

    # By hand, another model in the same folder is given the first one's results; here it is asked.
    other = make_checkpoint(tmp_path / "other", architecture="olmo2", seed=2)
    before = predictions(hand / "g", "gsm8k")
    by_hand(hand, model=other, task="gsm8k::tulu", output=hand / "g", dataset_path=str(data / "gsm8k"), limit=4)
    assert predictions(hand / "g", "gsm8k") == before
    alone = write_suite(tmp_path, gsm8k={"name": "gsm8k::tulu", "data": "data/gsm8k", "limit": 4})
    asked = ask(other, alone, scratch)
    assert [sample.reply for sample in asked.samples] != replies


def test_an_unknown_task_is_refused_before_a_model_is_loaded(tmp_path):
    write_gsm8k(tmp_path / "gsm8k", ["1"])
    suite = write_suite(tmp_path, gsm8k={"name": "gsm9k::tulu", "data": "gsm8k"})
    with pytest.raises(BadParameter, match=r"no task 'gsm9k::tulu'[\s\S]*--list-tasks"):
        ask(tmp_path / "nothing to load", suite, tmp_path / "scratch")


def test_a_base_model_without_a_chat_template(tmp_path):
    write_gsm8k(tmp_path / "gsm8k", ["1", "2"])
    model = make_checkpoint(tmp_path / "model", architecture="olmo2", chat_template=None)
    task = {"name": "gsm8k::tulu", "data": "gsm8k"}
    with pytest.raises(ProgramFailed, match="give the model's tokenizer its chat template"):
        ask(model, write_suite(tmp_path, gsm8k=task), tmp_path / "scratch")
    fallback = write_suite(tmp_path, gsm8k=task, settings={"fallback_chat_template": "basic_answer"})
    assert ask(model, fallback, tmp_path / "scratch").tasks[0].samples == 2


def test_a_script_beside_the_data_is_never_run(tmp_path, monkeypatch):
    data = write_gsm8k(tmp_path / "gsm8k", ["1", "2"])
    # Where a script has its folder's name, datasets 3 runs it for whoever trusts it, as OLMES does.
    (data / "gsm8k.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("components.evaluate.suite.check_local_data", lambda folder: None)
    suite = write_suite(tmp_path, gsm8k={"name": "gsm8k::tulu", "data": "gsm8k"})
    model = make_checkpoint(tmp_path / "model", architecture="olmo2")
    with pytest.raises(ProgramFailed, match="requires you to execute the dataset script"):
        ask(model, suite, tmp_path / "scratch")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(subprocess.CalledProcessError):
        by_hand(tmp_path / "hand", model=model, task="gsm8k::tulu", output=tmp_path / "o", dataset_path=str(data))
    assert (tmp_path / "ran").exists()


def test_data_of_another_form_fails_with_olmes_own_words_and_what_to_do(tmp_path):
    write_gsm8k(tmp_path / "gsm8k", ["1"])
    rows = tmp_path / "gsm8k" / "main-test.jsonl"
    rows.write_text(rows.read_text().replace('"question"', '"ask"'))
    suite = write_suite(tmp_path, gsm8k={"name": "gsm8k::tulu", "data": "gsm8k"})
    model = make_checkpoint(tmp_path / "model", architecture="olmo2")
    with pytest.raises(ProgramFailed, match=r"splits and columns[\s\S]*run-0/olmes.log"):
        ask(model, suite, tmp_path / "scratch")


@pytest.mark.parametrize("name", ["olmes-instruct", "olmes-base-quick"])
def test_the_papers_suites_are_known_to_olmes_and_their_commands_are_taken(name, tmp_path):
    suite, olmes = load_suite(name), find_olmes()
    subtasks = find_subtasks(olmes, suite)
    assert {len(subtasks[task.name]) for task in suite.tasks} == {1, 7, 57}
    variables = environment(
        checkout=olmes.checkout, python=olmes.python, packages=olmes.packages, work=tmp_path, offline=True
    )
    for run in group_tasks(suite, vllm=True):
        asked = command(
            run,
            python=olmes.python,
            model=Path("/model"),
            output=Path("/output"),
            settings=suite.settings,
            subtasks=subtasks,
            folders=suite.folders,
            chat_template=None,
        )
        said = subprocess.run([*asked, "--dry-run"], env=variables, check=True, capture_output=True, text=True).stderr
        (line,) = [line for line in said.splitlines() if "olmes_program.py oe_eval.run_eval" in line]
        # It goes through a shell as one argument, which Linux limits to 128 KiB.
        assert len(line) < 100_000
        assert f'"model_type": "{run.model_type}"' in line
        assert ('"max_length": 4096' in line) == (run.max_length == 4096)
