"""Published scores stand beside measured ones only where model and benchmark are the same."""

from dataclasses import replace

import pytest

from components.checkpoints.manifest import Checkpoint, Derivation
from components.definitions import FOLDERS
from components.judging.columns import columns_of
from components.judging.roles import Role
from components.references.family import releases, transfers
from components.reports.comparison.published import KIND, known_as, published_rows, studies

BENCHMARKS = ("GSM8K", "MATH", "ARC-C", "GPQA", "MMLU", "IFEval")
PUBLISHED = {
    "llama3:3.0-instruct": (81.1, 28.8, 82.4, 31.5, 64.9, 76.6),
    "llama3:3.0": (55.6, 17.3, 79.7, 22.3, 66.7, 34.5),
    "llama3:3.1-to-3.0": (82.8, 44.7, 83.0, 25.9, 70.0, 76.6),
    "llama3:3.1-instruct": (86.5, 50.3, 83.8, 31.3, 72.9, 80.5),
    "llama3:3.1": (56.6, 19.3, 79.2, 21.9, 66.8, 36.4),
    "llama3:3.0-to-3.1": (79.8, 29.9, 82.9, 32.6, 65.1, 83.3),
}
NAMES = {"target base": "llama3:3.1", "recycled": "llama3:3.0-to-3.1", "source fine-tuned": "llama3:3.0-instruct"}
CAPTION = "says nothing by itself"


def test_the_scores_are_those_of_the_paper():
    found = {result.model: result.percent for study in studies() for result in study.results}
    assert found == {model: dict(zip(BENCHMARKS, scores, strict=True)) for model, scores in PUBLISHED.items()}
    assert [study.source for study in studies()] == ["arXiv 2503.20110"]
    assert {study.name for study in studies()} == {path.stem for path in FOLDERS[KIND].glob("*.yaml")}


def test_every_published_model_is_known_by_that_name():
    names = {result.model for study in studies() for result in study.results}
    assert names <= releases().keys() | transfers().keys()


@pytest.fixture
def known(make_models):
    """Three models by their names, on one task that is GSM8K and one that is nothing known."""

    def named(model):
        first, second = model.evaluation.tasks
        tasks = (first.model_copy(update={"benchmark": "GSM8K"}), second)
        evaluation = model.evaluation.model_copy(update={"tasks": tasks})
        return replace(model, evaluation=evaluation, known_as=NAMES[model.role])

    return tuple(map(named, make_models({"target base": 0.5, "recycled": 0.8, "source fine-tuned": 0.81})))


def rows(models):
    return published_rows(columns_of(models[1].evaluation), {model.role: model.known_as for model in models})


class TestRows:
    def test_each_known_model_on_each_known_benchmark(self, known):
        found = rows(known)
        assert [(row.role, row.model) for row in found] == list(NAMES.items())
        assert [(row.cells[0], row.cells[2]) for row in found] == [(None, None)] * 3
        assert [row.cells[1] for row in found] == pytest.approx([0.566, 0.798, 0.811])
        assert [row.harness for row in found] == ["OLMES", *["Meta's tasks in lm-evaluation-harness"] * 2]

    def test_a_model_that_is_not_known_is_left_out(self, known):
        models = (replace(known[0], known_as=""), replace(known[1], known_as="olmo2-7b:M1-to-M3"), known[2])
        assert [row.role for row in rows(models)] == ["source fine-tuned"]

    @pytest.mark.parametrize("benchmark", [None, "GSM-Plus"])
    def test_a_model_without_a_published_benchmark_is_left_out(self, known, benchmark):
        def other(model):
            tasks = tuple(task.model_copy(update={"benchmark": benchmark}) for task in model.evaluation.tasks)
            return replace(model, evaluation=model.evaluation.model_copy(update={"tasks": tasks}))

        models = tuple(map(other, known))
        assert rows(models) == ()


class TestReport:
    def test_the_page_shows_it_with_its_source_and_a_caution(self, make_report, known):
        page = make_report(models=known).html
        assert "Published in arXiv 2503.20110, " in page
        for name, score in zip(NAMES.values(), ("56.6", "79.8", "81.1"), strict=True):
            assert name in page
            assert score in page
        assert "with OLMES" in page
        assert CAPTION in page

    def test_without_a_published_score_nothing_is_said_of_it(self, make_report, known):
        page = make_report(models=tuple(replace(model, known_as="") for model in known)).html
        assert "Published" not in page
        assert CAPTION not in page


def manifest(release="", **changes):
    fields = {
        "name": "m",
        "uri": "file:///m",
        "digest": "0" * 64,
        "files": (),
        "architecture": "LlamaForCausalLM",
        "parameters": 1,
        "dtypes": {"BF16": 1},
        "tensors_fingerprint": "",
        "tokenizer_fingerprint": "",
        "origin": {"kind": "hub", "repo": "o/m", "revision": "main", "commit": "0" * 40}
        | ({"release": release} if release else {}),
    }
    return Checkpoint(**(fields | changes))


def compared(
    base="llama3:3.0", tuned="llama3:3.0-instruct", target="llama3:3.1", scale="1.0", dtype="auto", stored="BF16"
):
    made = Derivation(method="fine-tuning transfer", parents={}, settings={"scale": scale, "dtype": dtype}, software="")
    return {
        Role.SOURCE_BASE: manifest(base),
        Role.SOURCE_TUNED: manifest(tuned, dtypes={stored: 1}),
        Role.TARGET_BASE: manifest(target),
        Role.RECYCLED: manifest(origin={}, derivation=made),
    }


class TestKnownAs:
    def test_releases_and_the_transfer_between_them(self):
        manifests = compared()
        assert {role: known_as(Role(role), manifests) for role in NAMES} == NAMES

    @pytest.mark.parametrize(
        "changes",
        [
            {"scale": "0.5"},
            {"dtype": "float32"},
            {"dtype": "stored"},
            {"stored": "F32"},
            {"base": "llama3:3.1"},
            {"base": ""},
            {"target": ""},
            {"tuned": "llama3:3.1-instruct"},
            {"base": "olmo2-7b:M1", "tuned": "", "target": "olmo2-7b:M3"},
        ],
    )
    def test_anything_else_is_not_the_published_result(self, changes):
        assert known_as(Role.RECYCLED, compared(**changes)) == ""

    def test_the_dtype_may_be_said(self):
        assert known_as(Role.RECYCLED, compared(dtype="bfloat16", stored="F32")) == "llama3:3.0-to-3.1"

    def test_what_is_no_release_has_no_name(self):
        assert known_as(Role.TARGET_BASE, compared(target="")) == ""
