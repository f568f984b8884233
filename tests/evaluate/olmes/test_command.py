import json
import os
from pathlib import Path

import pytest

from components.evaluate.olmes.command import PROGRAM, command, environment, group_tasks
from components.evaluate.suite import load_suite

PYTHON = Path("/olmes/.venv/bin/python")
SUBTASKS = {
    "mmlu:0shot_cot::tulu3": ["mmlu_anatomy:0shot_cot::tulu3", "mmlu_virology:0shot_cot::tulu3"],
    "minerva_math::tulu": ["minerva_math_algebra::tulu", "minerva_math_geometry::tulu"],
    **{name: [name] for name in ("arc_challenge:mc::olmes", "gsm8k::tulu", "ifeval::tulu", "gpqa:0shot_cot::tulu3")},
}


def ask(name, *, vllm, number, folders=None, chat_template=None):
    suite = load_suite(name)
    return command(
        group_tasks(suite, vllm=vllm)[number],
        python=PYTHON,
        model=Path("/work/model"),
        output=Path("/work/output"),
        settings=suite.settings,
        subtasks=SUBTASKS,
        folders=folders or {},
        chat_template=chat_template,
    )


def test_the_suite_is_asked_in_one_run_for_each_way_to_load_the_model():
    found = group_tasks(load_suite("olmes-instruct"), vllm=True)
    assert [(run.model_type, run.max_length, [task.name.split(":")[0] for task in run.tasks]) for run in found] == [
        ("vllm", None, ["mmlu", "gsm8k", "minerva_math"]),
        ("hf", None, ["arc_challenge"]),
        ("vllm", 4096, ["ifeval", "gpqa"]),
    ]


def test_transformers_take_the_place_of_vllm():
    found = group_tasks(load_suite("olmes-instruct"), vllm=False)
    assert [(run.model_type, run.max_length, len(run.tasks)) for run in found] == [("hf", None, 4), ("hf", 4096, 2)]


def test_the_exact_command_with_vllm():
    assert ask("olmes-instruct", vllm=True, number=2) == [
        "/olmes/.venv/bin/python",
        "-P",
        str(PROGRAM),
        "--model",
        "/work/model",
        "--model-type",
        "vllm",
        "--model-args",
        '{"add_bos_token": true, "dtype": "bfloat16", "max_length": 4096}',
        "--task",
        '{"task_name": "ifeval::tulu", "metadata": {"alias": "ifeval::tulu"}}',
        '{"task_name": "gpqa:0shot_cot::tulu3", "metadata": {"alias": "gpqa:0shot_cot::tulu3"}}',
        "--batch-size",
        "auto",
        "--output-dir",
        "/work/output",
    ]


def test_the_exact_command_with_transformers_limits_and_local_data():
    asked = ask("olmes-instruct-quick", vllm=True, number=1, folders={"arc_challenge:mc::olmes": Path("/data/arc")})
    assert asked[5:] == [
        "--model-type",
        "hf",
        "--model-args",
        '{"add_bos_token": true, "dtype": "bfloat16"}',
        "--task",
        '{"task_name": "arc_challenge:mc::olmes", "metadata": {"alias": "arc_challenge:mc::olmes"}, "limit": 200, '
        '"dataset_path": "/data/arc"}',
        "--batch-size",
        "8",
        "--output-dir",
        "/work/output",
    ]


def test_a_data_set_is_asked_for_at_its_commit(tmp_path):
    task = {"name": "gsm8k::tulu", "description": "d", "revision": "e5" * 20}
    settings = {"add_bos_token": True, "dtype": "bfloat16"}
    content = {"name": "own", "description": "d", "harness": "olmes", "tasks": [task], "settings": settings}
    (tmp_path / "own.yaml").write_text(json.dumps(content))
    asked = ask(str(tmp_path / "own.yaml"), vllm=False, number=0)
    assert json.loads(asked[asked.index("--task") + 1])["revision"] == "e5" * 20


def test_a_model_without_a_chat_template_is_given_one():
    assert load_suite("olmes-instruct").settings.fallback_chat_template == "basic_answer"
    asked = ask("olmes-instruct", vllm=True, number=0, chat_template="basic_answer")
    assert asked[8] == '{"add_bos_token": true, "dtype": "bfloat16", "chat_template": "basic_answer"}'


def test_each_subtask_brings_its_alias_and_its_tasks_limit():
    asked = ask("olmes-instruct-quick", vllm=True, number=0)
    specs = [json.loads(spec) for spec in asked[asked.index("--task") + 1 : asked.index("--batch-size")]]
    assert [(spec["task_name"], spec["metadata"], spec["limit"]) for spec in specs] == [
        ("mmlu_anatomy:0shot_cot::tulu3", {"alias": "mmlu_anatomy:0shot_cot::tulu3"}, 4),
        ("mmlu_virology:0shot_cot::tulu3", {"alias": "mmlu_virology:0shot_cot::tulu3"}, 4),
        ("gsm8k::tulu", {"alias": "gsm8k::tulu"}, 200),
        ("minerva_math_algebra::tulu", {"alias": "minerva_math_algebra::tulu"}, 30),
        ("minerva_math_geometry::tulu", {"alias": "minerva_math_geometry::tulu"}, 30),
    ]


@pytest.mark.parametrize("offline", [True, False])
def test_the_environment(offline, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    found = environment(
        checkout=Path("/olmes"),
        python=PYTHON,
        packages=Path("/olmes/.venv/lib/site-packages"),
        work=Path("/work/run-0"),
        offline=offline,
    )
    expected = {
        "PATH": f"/olmes/.venv/bin{os.pathsep}/usr/bin",
        "PYTHONPATH": "/olmes",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_DATASETS_CACHE": "/work/run-0/datasets",
        "HF_DATASETS_TRUST_REMOTE_CODE": "0",
        "HF_MODULES_CACHE": "/work/run-0/modules",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TIKTOKEN_CACHE_DIR": "/olmes/.venv/lib/site-packages/litellm/litellm_core_utils/tokenizers",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "offline",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    assert found == expected | ({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} if offline else {})
