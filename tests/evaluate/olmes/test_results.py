import json

import pytest

from components.errors import ProgramFailed
from components.evaluate.olmes.command import OlmesRun
from components.evaluate.olmes.results import read_run
from components.evaluate.suite import OlmesTask
from components.judging.evaluation import Evaluation
from components.judging.paired import difference, scores

ALGEBRA, GEOMETRY = "minerva_math_algebra::tulu", "minerva_math_geometry::tulu"
SUBTASKS = {"gsm8k::tulu": ["gsm8k::tulu"], "minerva_math::tulu": [ALGEBRA, GEOMETRY]}
RUN = OlmesRun(
    model_type="hf",
    max_length=None,
    tasks=(
        OlmesTask(name="gsm8k::tulu", description="maths", limit=4),
        OlmesTask(name="minerva_math::tulu", description="more maths"),
    ),
)


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Output:
    """A folder as OLMES leaves it; what is changed in `totals` is written by `write`."""

    def __init__(self, folder):
        self.folder, self.model = folder / "output", folder / "model"
        self.folder.mkdir()
        self.totals = []

    def task(self, alias, values, *, metric="exact_match", limit=None, documents=None, primary=None):
        number, name = len(self.totals), alias.split("::")[0]
        documents = documents or [{"question": f"q{index}", "query": "Question: …"} for index in range(len(values))]
        prefix = f"task-{number:03d}-{name}"
        requests = [
            {"doc_id": index, "doc": document, "label": str(index), "idx": choice}
            for index, document in enumerate(documents)
            for choice in range(2 if "choices" in document else 1)
        ]
        rows = [
            {"doc_id": index, "metrics": {metric: value}, "model_output": [{"continuation": "r"}], "label": str(index)}
            for index, value in enumerate(values)
        ]
        lines(self.folder / f"{prefix}-requests.jsonl", requests)
        lines(self.folder / f"{prefix}-predictions.jsonl", rows)
        self.totals.append(
            {
                "task_name": name,
                "task_idx": number,
                "task_config": {
                    "primary_metric": metric,
                    "limit": limit,
                    "version": 0.1,
                    "metadata": {"alias": alias},
                },
                "model_config": {"model": str(self.model)},
                "num_instances": len(values),
                "metrics": {"primary_score": sum(values) / len(values) if primary is None else primary},
            }
        )

    def suite(self, alias, score):
        entry = {"task_name": alias, "task_idx": None, "task_config": {"metadata": {"alias": alias}}}
        self.totals.insert(0, entry | {"metrics": {"primary_score": score}})

    def write(self):
        lines(self.folder / "metrics-all.jsonl", self.totals)

    def read(self, run=RUN, subtasks=SUBTASKS):
        self.write()
        return read_run(run, output=self.folder, model=self.model, subtasks=subtasks)


@pytest.fixture
def output(tmp_path):
    found = Output(tmp_path)
    found.task("gsm8k::tulu", [1.0, 0.0, 1.0, 1.0], limit=4)
    found.task(ALGEBRA, [1, 0, 0, 0])
    found.task(GEOMETRY, [1])
    found.suite("minerva_math::tulu", 0.625)
    return found


def test_scores_are_olmes_own_and_subtasks_count_alike(output):
    (gsm8k, math), samples = output.read()
    assert (gsm8k.task, gsm8k.score, gsm8k.samples, gsm8k.metric, gsm8k.version) == (
        "gsm8k::tulu",
        0.75,
        4,
        "exact_match",
        "0.1",
    )
    assert (math.score, math.samples, math.description) == (0.625, 5, "more maths")
    assert [(sample.id, sample.score, sample.weight) for sample in samples if sample.task == math.task] == [
        *((f"{ALGEBRA}/{number}", float(number == 0), 0.25) for number in range(4)),
        (f"{GEOMETRY}/0", 1.0, 1.0),
    ]
    assert (samples[0].id, samples[0].question, samples[0].expected, samples[0].reply) == ("0", "q0", "0", "r")


def test_what_compare_makes_of_it_is_that_same_macro_mean(output):
    tasks, samples = output.read()
    about = {"suite": "s", "suite_digest": "d", "harness": "OLMES", "model_digest": "m", "seconds": 1.0}
    ours = Evaluation(model_name="ours", tasks=tasks, samples=samples, **about)
    theirs = Evaluation(
        model_name="theirs",
        tasks=tuple(task.model_copy(update={"score": 0.0}) for task in tasks),
        samples=tuple(sample.model_copy(update={"score": 0.0}) for sample in samples),
        **about,
    )
    assert scores(ours).tasks["minerva_math::tulu"].value == 0.625
    assert difference(ours, theirs).tasks["minerva_math::tulu"].value == 0.625


def test_a_choice_is_shown_as_its_text(tmp_path):
    output = Output(tmp_path)
    documents = [{"query": "Which?", "choices": ["A", "B"]}] * 2
    output.task("arc_challenge:mc::olmes", [1, 0], metric="acc_raw", documents=documents)
    path = output.folder / "task-000-arc_challenge:mc-predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row |= {"label": 1, "model_output": [{"sum_logits": -1.0}, {"sum_logits": -2.0}]}
        row["metrics"]["predicted_index_raw"] = row["metrics"]["acc_raw"]
    lines(path, rows)
    task = OlmesTask(name="arc_challenge:mc::olmes", description="")
    _, samples = output.read(OlmesRun(model_type="hf", max_length=None, tasks=(task,)), {task.name: [task.name]})
    assert [(sample.question, sample.expected, sample.reply) for sample in samples] == [
        ("Which?", "B", "B"),
        ("Which?", "B", "A"),
    ]


def test_ifeval_by_instruction_weighs_prompts_by_their_instructions(tmp_path):
    output = Output(tmp_path)
    documents = [{"prompt": "p", "instruction_id_list": ["a", "b", "c"]}, {"prompt": "p", "instruction_id_list": ["a"]}]
    output.task("ifeval", [2 / 3, 0.0], metric="inst_level_loose_acc", documents=documents, primary=2 / 4)
    task = OlmesTask(name="ifeval", description="")
    (score,), samples = output.read(OlmesRun(model_type="hf", max_length=None, tasks=(task,)), {"ifeval": ["ifeval"]})
    assert score.score == 0.5
    assert [sample.weight for sample in samples] == [3, 1]


class TestRefused:
    def test_no_results_at_all(self, output):
        with pytest.raises(ProgramFailed, match=r"left no metrics-all\.jsonl"):
            read_run(RUN, output=output.folder, model=output.model, subtasks=SUBTASKS)

    def test_a_task_without_questions_is_dropped_by_olmes(self, output):
        del output.totals[2]
        with pytest.raises(ProgramFailed, match="no results of minerva_math_algebra::tulu"):
            output.read()

    @pytest.mark.parametrize("name", ["predictions", "requests"])
    def test_questions_are_missing(self, output, name):
        path = output.folder / f"task-000-gsm8k-{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
        with pytest.raises(ProgramFailed, match=r"of the \d questions of gsm8k::tulu"):
            output.read()

    def test_an_answer_comes_twice(self, output):
        path = output.folder / "task-000-gsm8k-predictions.jsonl"
        path.write_text(path.read_text().splitlines(keepends=True)[0] * 4)
        with pytest.raises(ProgramFailed, match="answers to 1 of the 4 questions"):
            output.read()

    @pytest.mark.parametrize("value", [float("nan"), None, 1.5, "high"])
    def test_a_score_that_is_none(self, output, value):
        output.totals[1]["metrics"]["primary_score"] = value
        with pytest.raises(ProgramFailed, match="no number from 0 to 1"):
            output.read()

    def test_a_score_that_is_not_the_mean_of_its_questions(self, output):
        output.totals[1]["metrics"]["primary_score"] = 0.8
        with pytest.raises(ProgramFailed, match=r"score 0\.8 for gsm8k::tulu, whose questions have the mean 0\.75"):
            output.read()

    def test_a_suite_that_is_not_the_mean_of_its_tasks(self, output):
        output.totals[0]["metrics"]["primary_score"] = 0.4  # the micro average
        with pytest.raises(ProgramFailed, match=r"score 0\.4 for minerva_math::tulu, whose tasks have the mean 0\.625"):
            output.read()

    def test_a_suite_that_olmes_did_not_add_up(self, output):
        del output.totals[0]
        with pytest.raises(ProgramFailed, match="None for minerva_math::tulu"):
            output.read()

    @pytest.mark.parametrize("change", [{"model_config": {"model": "/another"}}, {"task_config": {"limit": 3}}])
    def test_results_of_something_else(self, output, change):
        entry = output.totals[1]
        for key, value in change.items():
            entry[key] = entry[key] | value
        with pytest.raises(ProgramFailed, match="for another model or limit"):
            output.read()
