from collections import Counter

from components.reports.comparison.examples import choose_examples
from components.reports.text import clip


def test_choice_is_the_same_every_time_and_whatever_order_samples_come_in(demo_models, make_models):
    def ids(models):
        return [(example.task, example.id) for example in choose_examples(models)]

    assert len(ids(demo_models)) == 12
    backwards = tuple(
        type(model)(
            role=model.role,
            lineage=model.lineage,
            evaluation=model.evaluation.model_copy(update={"samples": model.evaluation.samples[::-1]}),
        )
        for model in demo_models
    )
    assert ids(demo_models) == ids(backwards)


def test_tasks_take_turns(make_models):
    models = make_models({"target base": 0.1, "recycled": 0.8, "source fine-tuned": 0.5}, tasks=6)
    assert Counter(example.task for example in choose_examples(models)) == {f"task_{t}": 2 for t in range(6)}


def test_every_kind_of_disagreement_comes_before_agreement(demo_models):
    models = demo_models[1:3]
    patterns = [tuple(answer.grade for answer in example.answers) for example in choose_examples(models)]
    assert patterns[0] == patterns[1] == ("right", "wrong")
    assert ("wrong", "right") in patterns
    assert ("right", "right") not in patterns[:4]


def test_where_all_models_agree_there_are_still_examples(make_models):
    models = make_models({"target base": 1.0, "recycled": 1.0, "source fine-tuned": 1.0}, samples=4)
    assert len(choose_examples(models)) == 8
    assert all(answer.grade == "right" for example in choose_examples(models) for answer in example.answers)


def test_graded_answers_are_partly_right(make_models, make_evaluation):
    models = make_models({"target base": 1.0, "recycled": 1.0, "source fine-tuned": 1.0}, tasks=1, samples=1)
    graded = make_evaluation({"task_0": [0.5]})
    (example,) = choose_examples(tuple(type(m)(role=m.role, lineage=(), evaluation=graded) for m in models))
    assert example.answers[0].grade == "partly right"


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = "Let us think. " + "step " * 400 + "The answer is 42."
    clipped = clip(text)
    assert clipped.is_clipped
    assert clipped.short.startswith("Let us think.")
    assert clipped.short.endswith("The answer is 42.")
    assert len(clipped.short) < 330
    assert clipped.full == text


def test_an_endless_text_is_cut_and_says_so():
    clipped = clip("x" * 1_000_000)
    assert len(clipped.full) < 21_000
    assert "980000 characters more" in clipped.full
    assert not clip("short").is_clipped
