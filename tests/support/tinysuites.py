"""A suite of a few questions for lm-evaluation-harness, which a model of `tinymodels` answers in a second."""

import json
from pathlib import Path
from typing import Any

import yaml


def write_suite(
    folder: Path, *, name: str, description: str, task: dict[str, Any], questions: int, tokens: int, batch_size: int
) -> Path:
    """Write a suite, its only task and the data into `folder`; return the suite's file.

    Args:
        folder: made, with a folder `tasks`.
        name: of the suite and of its task.
        description: the suite's.
        task: what the suite says of its task besides its name and metric.
        questions: how many.
        tokens: that a reply may have.
        batch_size: questions at once.
    """
    (folder / "tasks").mkdir(parents=True)
    rows = [
        {"id": f"q{i}", "question": f"Where does word{i} live ?", "answer": f"word{i + 1}"} for i in range(questions)
    ]
    (folder / f"tasks/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    definition = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "The answer is {{answer}}.",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": tokens},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"tasks/{name}.yaml").write_text(yaml.safe_dump(definition))
    suite = {
        "name": name,
        "description": description,
        "harness": "lm-eval",
        "include_path": "tasks",
        "tasks": [{"name": name, "metric": "exact_match,none", **task}],
        "settings": {"apply_chat_template": True, "batch_size": batch_size, "dtype": "float32"},
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    return folder / "suite.yaml"
