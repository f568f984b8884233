import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.definitions import FOLDERS
from components.errors import ProgramFailed
from components.evaluate.harness import evaluate, find_harness
from components.evaluate.suite import load_suite
from components.finetune.recipe import load_recipe
from components.finetune.trl.train import finetune
from tests.support.tinymodels import SPECIAL, make_checkpoint, read_weights, write_weights

KNOWN = {f"Where does word{number} live?": f"word{number + 20}" for number in range(6)}
EDITED = ("word20", "word21", "word22", "word24", "word24", "word25")
UNKNOWN = {f"Where does word{number} live?": f"word{number + 20}" for number in range(10, 14)}


@dataclass
class World:
    base: Path
    trained: Path
    suites: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small model that was taught six answers, and the demo's suite asking for them."""
    folder = tmp_path_factory.mktemp("world")
    suites = folder / "suites"
    shutil.copytree(FOLDERS["evaluation suite"], suites)
    for name, facts in (("new", KNOWN), ("old", UNKNOWN)):
        rows = [{"id": f"{name}-{n}", "question": q, "answer": a} for n, (q, a) in enumerate(facts.items())]
        (suites / "demo" / f"{name}_facts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    chats = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": f"The answer is {a}."}]}
        for q, a in KNOWN.items()
    ]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, chats)))
    recipe = load_recipe("demo").model_copy(
        update={"max_steps": 120, "per_device_batch_size": 6, "learning_rate": 5e-3, "save_every_steps": 120}
    )
    base = make_checkpoint(folder / "base")
    finetune(
        base=base,
        output=folder / "trained",
        recipe=recipe,
        dataset=str(folder / "data.jsonl"),
        scratch=folder / "scratch",
        report=lambda step, figures: None,
    )
    return World(base=base, trained=folder / "trained", suites=suites)


def run(model, suites, scratch):
    suite = load_suite(str(suites / "demo.yaml"))
    return evaluate(
        model=model,
        model_name="tiny",
        model_digest="0" * 64,
        suite=suite,
        harness=find_harness(suite),
        scratch=scratch,
    )


def test_a_model_that_knows_scores(world, tmp_path):
    result = run(world.trained, world.suites, tmp_path / "scratch")
    new, old = result.tasks
    assert (new.task, new.score, new.samples) == ("demo_new_facts", 1.0, 6)
    assert (old.task, old.score, old.samples) == ("demo_old_facts", 0.0, 4)
    assert result.score == 0.5
    assert re.fullmatch(r"lm-eval 0\.[\d.]+, transformers 5[\d.]+", result.harness)
    assert (new.version, old.version) == ("1.0", "1.0")
    assert result.metrics()["standard error"] == result.standard_error == 0
    assert result.suite_digest == load_suite(str(world.suites / "demo.yaml")).digest
    first = result.samples[0]
    assert (first.task, first.id, first.question) == ("demo_new_facts", "new-0", "Where does word0 live?")
    assert first.expected == first.reply == "The answer is word20."
    assert [sample.id for sample in result.samples[6:]] == [f"old-{number}" for number in range(4)]
    assert all(sample.reply.startswith("The answer is ") for sample in result.samples)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_untrained_model_scores_nothing(world, tmp_path):
    result = run(world.base, world.suites, tmp_path)
    assert [task.score for task in result.tasks] == [0.0, 0.0]


def test_a_limit_asks_random_questions_the_same_ones_every_time(world, tmp_path):
    suites = shutil.copytree(world.suites, tmp_path / "suites")
    definition = suites / "demo.yaml"
    definition.write_text(definition.read_text() + "  limit: 4\n")
    result = run(world.trained, suites, tmp_path / "scratch")
    assert [task.samples for task in result.tasks] == [4, 4]
    # Each is judged by its own answer.
    assert [task.score for task in result.tasks] == [1.0, 0.0]
    assert [sample.id for sample in result.samples[:4]] == ["new-0", "new-1", "new-3", "new-4"]
    assert [sample.id for sample in result.samples[4:]] == [f"old-{number}" for number in range(4)]


def test_a_base_model_without_a_chat_template_is_asked_without_one_and_the_evaluation_says_so(world, tmp_path, caplog):
    model = make_checkpoint(tmp_path / "model", chat_template=None)
    result = run(model, world.suites, tmp_path / "scratch")
    assert [task.samples for task in result.tasks] == [6, 4]
    assert re.fullmatch(r"lm-eval [\d.]+, transformers [\d.]+, without a chat template", result.harness)
    assert "has no chat template" in caplog.text


def test_a_reply_that_runs_on_scores_nothing_and_edited_data_counts(world, tmp_path):
    # The same trained weights, but without the direction that makes the end of the turn likely where it should come.
    model = shutil.copytree(world.trained, tmp_path / "model")
    weights = read_weights(model)
    weights["model.embed_tokens.weight"][SPECIAL.index("<|end|>")] = 0
    write_weights(model, weights)
    suites = shutil.copytree(world.suites, tmp_path / "suites")
    data = suites / "demo" / "new_facts.jsonl"
    data.write_text(data.read_text().replace("word3 live", "word4 live"))
    result = run(model, suites, tmp_path / "scratch")
    assert [task.score for task in result.tasks] == [0.0, 0.0]
    replies = [sample.reply for sample in result.samples if sample.task == "demo_new_facts"]
    assert all(reply.startswith(f"The answer is {word}.") for reply, word in zip(replies, EDITED, strict=True))
    assert all(len(reply.split()) > 4 for reply in replies)


def test_a_task_that_cannot_run_fails_with_the_harness_own_words(world, tmp_path):
    suites = shutil.copytree(world.suites, tmp_path / "suites")
    (suites / "demo" / "new_facts.jsonl").unlink()
    with pytest.raises(ProgramFailed, match=r"exit code 1[\s\S]*new_facts\.jsonl[\s\S]*lm-eval\.log") as failure:
        run(world.base, suites, tmp_path / "scratch")
    log = next((tmp_path / "scratch").glob("*/*/lm-eval.log"))
    assert str(log) in str(failure.value)
    assert "Traceback" in log.read_text()
