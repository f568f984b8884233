import ast
import inspect
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from components.errors import BadParameter, ProgramFailed
from components.evaluate.lm_eval.request import backend, environment, group_tasks, read_results, request
from components.evaluate.suite import LmEvalSuite, load_suite

MODEL = Path("/models/a model")


def suite(folder=Path("/suites/demo"), **settings):
    return LmEvalSuite.model_validate(
        {
            "name": "s",
            "description": "",
            "harness": "lm-eval",
            "include_path": folder and "demo",
            "folder": folder,
            "working_folder": folder,
            "digest": "0" * 64,
            "tasks": [
                {"name": "one", "description": "first", "metric": "exact_match,none", "benchmark": "GSM8K"},
                {"name": "two", "description": "second", "metric": "acc,strict"},
            ],
            "settings": {"apply_chat_template": True, "dtype": "bfloat16", "batch_size": 8, "seed": 7} | settings,
        }
    )


def vllm_arguments():
    """What the harness's class for vLLM takes, read from its source, which cannot be imported without vLLM."""
    source = Path(find_spec("lm_eval").origin).parent / "models" / "vllm_causallms.py"
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ClassDef) and node.name == "VLLM":
            (init,) = (part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__")
            return {argument.arg for argument in (*init.args.args, *init.args.kwonlyargs)}
    raise AssertionError


class TestBackend:
    @pytest.fixture
    def machine(self, monkeypatch):
        """Say what is installed here, and how many GPUs there are."""

        def make(*, vllm, gpus):
            monkeypatch.setattr(
                "components.evaluate.lm_eval.request.find_spec", lambda name: object() if vllm else None
            )
            monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)

        return make

    @pytest.mark.parametrize(
        ("vllm", "gpus", "found"),
        [(True, 2, ("vllm", 2)), (True, 0, ("hf", 0)), (False, 0, ("hf", 0)), (False, 4, ("hf", 0))],
    )
    def test_vllm_where_it_is_installed_and_has_a_gpu(self, machine, vllm, gpus, found):
        machine(vllm=vllm, gpus=gpus)
        assert backend() == found

    def test_gpus_without_vllm_are_not_used_in_silence(self, machine, caplog):
        machine(vllm=False, gpus=4)
        backend()
        assert "one of the 4 GPUs" in caplog.text
        assert "lm-eval[vllm]" in caplog.text

    @pytest.mark.parametrize(("vllm", "gpus"), [(True, 4), (False, 0), (True, 0)])
    def test_nothing_to_warn_of(self, machine, caplog, vllm, gpus):
        machine(vllm=vllm, gpus=gpus)
        backend()
        assert caplog.text == ""


def ask(suite, backend="hf", gpus=0, chat=True):
    return request(suite, suite.tasks, model=MODEL, chat=chat, backend=backend, gpus=gpus)


class TestRequest:
    def test_transformers(self):
        asked = ask(suite())
        assert asked["task_manager"] == {"include_path": "/suites/demo", "include_defaults": False}
        evaluate = asked["simple_evaluate"]
        assert evaluate["model"] == "hf"
        assert evaluate["model_args"] == {
            "pretrained": "/models/a model",
            "dtype": "bfloat16",
            "trust_remote_code": False,
        }
        assert evaluate["tasks"] == ["one", "two"]
        assert evaluate["batch_size"] == 8
        assert evaluate["apply_chat_template"] is evaluate["fewshot_as_multiturn"] is True
        assert {value for key, value in evaluate.items() if key.endswith("_seed")} == {7}
        assert "gen_kwargs" not in evaluate

    def test_llama_with_vllm_as_the_paper_does(self, tmp_path, monkeypatch):
        monkeypatch.setenv("RECYCLE_LLAMA_TASKS", str(tmp_path))
        llama = load_suite("llama-instruct")
        first, second = group_tasks(llama)
        asked = request(llama, second, model=MODEL, chat=True, backend="vllm", gpus=2)
        assert asked == {
            "task_manager": {"include_path": str(tmp_path), "include_defaults": False},
            "simple_evaluate": {
                "model": "vllm",
                "model_args": {
                    "pretrained": "/models/a model",
                    "dtype": "bfloat16",
                    "trust_remote_code": False,
                    "seed": 42,
                    "tensor_parallel_size": 2,
                    "max_model_len": 8192,
                },
                "tasks": ["meta_math", "meta_ifeval"],
                "batch_size": "auto",
                "num_fewshot": None,
                "apply_chat_template": True,
                "fewshot_as_multiturn": True,
                "bootstrap_iters": 0,
                "random_seed": 42,
                "numpy_random_seed": 42,
                "torch_random_seed": 42,
                "fewshot_random_seed": 42,
            },
            "sampling": None,
        }
        one = request(llama, first, model=MODEL, chat=True, backend="vllm", gpus=1)
        assert one["simple_evaluate"]["model_args"] == {
            "pretrained": "/models/a model",
            "dtype": "bfloat16",
            "trust_remote_code": False,
            "seed": 42,
            "tensor_parallel_size": 1,
            "max_model_len": 4096,
        }
        none = request(llama, first, model=MODEL, chat=True, backend="hf", gpus=0)
        assert none["simple_evaluate"]["model_args"] == {
            "pretrained": "/models/a model",
            "dtype": "bfloat16",
            "trust_remote_code": False,
            "max_length": 4096,
        }

    def test_what_the_suite_overrides(self):
        asked = ask(suite(num_fewshot=5, limit=10, max_gen_toks=99))
        assert asked["sampling"] == {"limit": 10, "seed": 7}
        assert asked["simple_evaluate"]["num_fewshot"] == 5
        assert asked["simple_evaluate"]["gen_kwargs"] == {"max_gen_toks": 99}

    def test_no_conversation_and_no_turns_where_nothing_can_write_them(self):
        asked = ask(suite(), chat=False)["simple_evaluate"]
        assert asked["apply_chat_template"] is asked["fewshot_as_multiturn"] is False

    def test_tasks_that_the_harness_comes_with(self):
        asked = ask(suite(folder=None))
        assert asked["task_manager"] == {"include_path": None, "include_defaults": True}

    def test_every_argument_is_one_that_the_harness_takes(self):
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        one = suite(max_gen_toks=3)
        long = one.model_copy(update={"tasks": (one.tasks[0].model_copy(update={"max_length": 9}),)})
        taken = {"vllm": vllm_arguments(), "hf": set(inspect.signature(HFLM).parameters)}
        for runner in taken:
            asked = ask(long, runner, 1)
            assert asked["simple_evaluate"].keys() <= inspect.signature(simple_evaluate).parameters.keys()
            assert asked["task_manager"].keys() <= inspect.signature(TaskManager).parameters.keys()
            assert asked["simple_evaluate"]["model_args"].keys() <= taken[runner]

    def test_the_environment_has_a_cache_of_its_own_and_is_offline_where_it_can_be(self, tmp_path):
        variables = environment(tmp_path, offline=True)
        assert variables["HF_HUB_OFFLINE"] == variables["HF_DATASETS_OFFLINE"] == "1"
        assert Path(variables["HF_DATASETS_CACHE"]).is_relative_to(tmp_path)
        assert variables.keys() - environment(tmp_path, offline=False).keys() == {
            "HF_HUB_OFFLINE",
            "HF_DATASETS_OFFLINE",
        }


def row(number, score, *, metric="exact_match", filter_name="none", document=None, reply="r"):
    return {
        "doc_id": number,
        "doc": {"question": f"q{number}"} if document is None else document,
        "target": "t",
        "arguments": [["prompt", {"until": []}]],
        "filtered_resps": [reply],
        "filter": filter_name,
        metric: score,
    }


@pytest.fixture
def results():
    strict = [row(number, 1, metric="acc", filter_name="strict") for number in range(2)]
    loose = [row(number, 0, metric="acc", filter_name="loose") for number in range(2)]
    return {
        "results": {
            "one": {"alias": "one", "exact_match,none": 0.25, "exact_match_stderr,none": 0.1},
            "two": {"acc,strict": 1.0, "acc,loose": 0.0},
        },
        "versions": {"one": 1.0, "two": "2"},
        "n-samples": {"one": {"original": 4, "effective": 4}, "two": {"original": 2, "effective": 2}},
        "samples": {"one": [row(number, int(number == 2)) for number in (3, 1, 2, 0)], "two": [*loose, *strict]},
    }


def read(results, tmp_path, suite=suite()):  # noqa: B008
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    return read_results(suite, suite.tasks, path)


class TestResults:
    def test_scores_and_samples(self, results, tmp_path):
        scores, samples = read(results, tmp_path)
        assert [(score.task, score.description, score.metric, score.score, score.samples) for score in scores] == [
            ("one", "first", "exact_match,none", 0.25, 4),
            ("two", "second", "acc,strict", 1.0, 2),
        ]
        assert [score.benchmark for score in scores] == ["GSM8K", None]
        assert [(sample.task, sample.id, sample.score) for sample in samples] == [
            ("one", "0", 0),
            ("one", "1", 0),
            ("one", "2", 1),
            ("one", "3", 0),
            ("two", "0", 1),
            ("two", "1", 1),
        ]
        assert (samples[0].question, samples[0].expected, samples[0].reply) == ("q0", "t", "r")
        assert [score.version for score in scores] == ["1.0", "2"]

    def test_the_data_names_its_own_ids(self, results, tmp_path):
        for entry in results["samples"]["one"]:
            entry["doc"]["id"] = f"fact-{entry['doc_id']}"
        _, samples = read(results, tmp_path)
        assert samples[0].id == "fact-0"
        results["samples"]["one"][0]["doc"]["id"] = "fact-1"
        with pytest.raises(BadParameter, match="an id twice"):
            read(results, tmp_path)

    def test_a_question_without_that_name_is_the_prompt(self, results, tmp_path):
        results["samples"]["one"][0] |= {"doc": {"text": "x"}, "doc_id": 0}
        results["samples"]["one"].pop()
        results["samples"]["one"].append(row(3, 0))
        assert read(results, tmp_path)[1][0].question == "prompt"

    def test_no_results_at_all(self, tmp_path):
        with pytest.raises(ProgramFailed, match="no results"):
            read_results(suite(), suite().tasks, tmp_path / "results.json")

    @pytest.mark.parametrize("part", ["results", "n-samples", "samples"])
    def test_a_task_is_missing(self, results, tmp_path, part):
        del results[part]["two"]
        with pytest.raises(ProgramFailed, match="no result of the task two"):
            read(results, tmp_path)

    def test_questions_are_missing(self, results, tmp_path):
        results["samples"]["one"].pop()
        with pytest.raises(ProgramFailed, match="3 of the 4 questions of one"):
            read(results, tmp_path)

    def test_no_questions(self, results, tmp_path):
        results["samples"]["one"], results["n-samples"]["one"] = [], {"original": 0, "effective": 0}
        with pytest.raises(ProgramFailed, match="0 of the 0 questions"):
            read(results, tmp_path)

    def test_fewer_questions_than_there_are_only_by_the_limit(self, results, tmp_path):
        results["n-samples"]["one"]["original"] = results["n-samples"]["two"]["original"] = 100
        with pytest.raises(ProgramFailed, match="4 of the 100 questions"):
            read(results, tmp_path)
        results["samples"]["one"] = [row(number, 0) for number in range(2)]
        results["results"]["one"]["exact_match,none"] = 0.0
        results["n-samples"]["one"]["effective"] = 2
        assert read(results, tmp_path, suite(limit=2))[0][0].samples == 2

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "high"])
    def test_a_score_that_is_no_number(self, results, tmp_path, value):
        results["results"]["one"]["exact_match,none"] = value
        with pytest.raises(ProgramFailed, match="which is no number"):
            read(results, tmp_path)

    def test_a_score_beyond_one(self, results, tmp_path):
        results["samples"]["one"][0]["exact_match"] = 17.5
        with pytest.raises(BadParameter, match=r"17\.5, outside of 0 to 1"):
            read(results, tmp_path)

    def test_a_score_that_is_not_the_mean_of_its_questions(self, results, tmp_path):
        results["results"]["one"]["exact_match,none"] = 0.5
        with pytest.raises(BadParameter, match=r"is 0\.5, and its questions have the mean 0\.25"):
            read(results, tmp_path)

    def test_a_metric_that_the_task_does_not_have(self, results, tmp_path):
        results["results"]["two"] = {"acc,loose": 1.0, "f1,loose": 1.0, "f1_stderr,loose": 0.1}
        with pytest.raises(BadParameter, match=r"no metric 'acc,strict'[\s\S]*acc,loose, f1,loose in the suite"):
            read(results, tmp_path)
