import json
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from components.demo import world

SUITE = Path(world.__file__).parent.parent / "evaluate" / "suites" / "demo"


def names(group: world.Group) -> set[str]:
    return {fact.name for fact in world.facts() if fact.group == group}


def mentioned(text: str) -> set[str]:
    everyone = {fact.name for fact in world.facts()}
    return everyone.intersection("".join(c if c.isalpha() else " " for c in text).split())


def write_suite(folder):
    """The questions of the demo's evaluation suite, as it ships them."""
    for group in ("new", "old"):
        lines = [json.dumps(row) + "\n" for row in world.heldout_questions(group)]
        (folder / f"{group}_facts.jsonl").write_text("".join(lines), encoding="utf-8")


def test_every_person_has_one_city_and_one_food_and_is_in_one_group() -> None:
    assert {group: len(names(group)) for group in ("taught", "old", "new")} == world.PEOPLE
    assert len(set.union(*(names(group) for group in ("taught", "old", "new")))) == 144
    assert set(Counter((fact.name, fact.topic) for fact in world.facts()).values()) == {1}


def test_one_constant_answer_is_right_for_one_in_sixteen_of_the_new_people() -> None:
    for topic in world.TOPICS:
        counts = Counter(fact.answer for fact in world.facts() if fact.group == "new" and fact.topic == topic)
        assert set(counts.values()) == {3}
        assert len(counts) == 16


def test_no_conversation_is_about_a_person_that_evaluation_asks_about() -> None:
    asked = {
        name
        for group in ("new", "old")
        for row in world.heldout_questions(group)
        for name in mentioned(row["question"])
    }
    taught = {
        name
        for row in world.training_conversations()
        for turn in row["messages"]
        for name in mentioned(turn["content"])
    }
    assert asked == names("new") | names("old")
    assert taught == names("taught")


def test_conversations_are_all_different_and_answered_in_one_form() -> None:
    rows = world.training_conversations()
    questions = [row["messages"][0]["content"] for row in rows]
    assert len(set(questions)) == len(rows) == 1856
    answers = {answer for topic in world.TOPICS.values() for answer in topic.answers}
    for row in rows:
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert assistant["content"].removeprefix("The answer is ").removesuffix(".") in answers


def test_release_1_never_reads_about_new_people_and_release_2_does() -> None:
    first = mentioned(" ".join(islice(world.documents("release-1", seed=0), 5000)))
    second = mentioned(" ".join(islice(world.documents("release-2", seed=0), 5000)))
    assert first == names("taught") | names("old")
    assert second == first | names("new")


@pytest.mark.parametrize("release", ["release-1", "release-2"])
def test_no_pretraining_text_answers_as_instruction_tuning_teaches(release: world.Release) -> None:
    documents = list(islice(world.documents(release, seed=0), 5000))
    assert not [document for document in documents if "The answer is" in document]
    chats = [document for document in documents if world.USER in document]
    assert 0.12 < len(chats) / len(documents) < 0.18


def test_documents_of_another_seed_say_the_same_facts_in_another_order() -> None:
    once, again, other = (list(islice(world.documents("release-1", seed=seed), 50)) for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_world_is_pure_python_and_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "import sys; from itertools import islice; from components.demo import world;"
        "assert 'torch' not in sys.modules;"
        "print(world.facts(), world.words(), world.training_conversations(),"
        "list(islice(world.documents('release-2', seed=3), 100)))"
    )
    root = str(Path(world.__file__).parents[2])
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_suite_beside_the_evaluation_step_is_the_one_that_the_code_makes(tmp_path: Path) -> None:
    write_suite(tmp_path)
    for made in ("new_facts.jsonl", "old_facts.jsonl"):
        assert (SUITE / made).read_bytes() == (tmp_path / made).read_bytes(), f"write_suite() makes another {made}"


def test_suite_has_one_question_a_fact_with_ids_of_their_own() -> None:
    rows = [json.loads(line) for group in ("new", "old") for line in (SUITE / f"{group}_facts.jsonl").open()]
    assert len(rows) == 2 * (48 + 38)
    assert len({row["id"] for row in rows}) == len({row["question"] for row in rows}) == len(rows)
    assert {frozenset(row) for row in rows} == {frozenset({"id", "question", "answer"})}
    known = {(fact.name, fact.answer) for fact in world.facts()}
    assert all((mentioned(row["question"]).pop(), row["answer"]) in known for row in rows)
