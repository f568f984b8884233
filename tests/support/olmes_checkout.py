"""What tests that run OLMES share: where it is, local data for it, and starting it by hand."""

import json
import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = os.environ.get("RECYCLE_OLMES", "")
"""Read before tests take such variables away."""
PYTHON = Path(os.environ.get("RECYCLE_OLMES_PYTHON") or Path(CHECKOUT) / ".venv" / "bin" / "python")

needs_olmes = pytest.mark.skipif(not CHECKOUT, reason="RECYCLE_OLMES does not name a checkout of OLMES")

SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


def use_olmes(monkeypatch):
    """Let the package find it."""
    monkeypatch.setenv("RECYCLE_OLMES", CHECKOUT)
    monkeypatch.setenv("RECYCLE_OLMES_PYTHON", str(PYTHON))


def write_data(folder: Path, configs: dict[str, dict[str, list[dict]]]) -> Path:
    """A data set in a folder: rows by config and split."""
    folder.mkdir(parents=True)
    front = ["---", "configs:"]
    for config, splits in configs.items():
        front += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            path = f"{config}-{split}.jsonl"
            front += [f"  - split: {split}", f"    path: {path}"]
            (folder / path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "README.md").write_text("\n".join([*front, "---", ""]))
    return folder


def write_gsm8k(folder: Path, answers: list[str]) -> Path:
    rows = [{"question": f"Where does word{n} live?", "answer": f"There. #### {a}"} for n, a in enumerate(answers)]
    return write_data(folder, {"main": {"train": rows, "test": rows}})


def write_arc(folder: Path) -> Path:
    rows = [
        {
            "id": f"q{n}",
            "question": f"Where does word{n} live?",
            "choices": {"text": [f"word{n + choice}" for choice in range(4)], "label": list("ABCD")},
            "answerKey": "ABCD"[n % 4],
        }
        for n in range(8)
    ]
    return write_data(folder, {"ARC-Challenge": {"train": rows, "validation": rows, "test": rows}})


def write_math(folder: Path) -> Path:
    def rows(subject, count):
        text = {
            "problem": "What is word{n}?",
            "level": "Level 1",
            "type": subject,
            "solution": "It is $\\boxed{{{n}}}$.",
        }
        return [{key: value.format(n=n) for key, value in text.items()} for n in range(count)]

    return write_data(
        folder,
        {s: {"train": rows(s, 4), "test": rows(s, 1 + number)} for number, s in enumerate(SUBJECTS)},
    )


def by_hand(folder: Path, *, model: Path, task: str, output: Path, **task_args: object) -> dict[str, float]:
    """Start OLMES as its README does, and give its scores by task and suite."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = next(PYTHON.parent.parent.glob("lib/python3.*/site-packages"))
    variables = {
        "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": CHECKOUT,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "TIKTOKEN_CACHE_DIR": str(packages / "litellm" / "litellm_core_utils" / "tokenizers"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_WAIT_POLICY": "PASSIVE",  # or else threads spin while they wait, minutes where cores are shared
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run(
        [
            *(PYTHON, "-m", "oe_eval.launch", "--model", model, "--model-type", "hf"),
            *("--model-args", '{"add_bos_token": true, "dtype": "bfloat16"}', "--batch-size", "8"),
            *("--task", task, "--task-args", json.dumps(task_args), "--output-dir", output),
        ],
        env=os.environ | variables,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    tasks = json.loads((output / "metrics.json").read_bytes())["tasks"]
    return {entry["alias"]: entry["metrics"]["primary_score"] for entry in tasks}
