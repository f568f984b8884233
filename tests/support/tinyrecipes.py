"""A fine-tuning recipe that takes seconds."""

import json
from pathlib import Path

import yaml


def write_recipe(folder: Path) -> Path:
    """A recipe of two steps on twenty conversations, both written into `folder`; returns the recipe's path."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Where does word{i} live ?"},
                {"role": "assistant", "content": "The answer is word1."},
            ]
        }
        for i in range(20)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "two-steps",
        "description": "Two steps.",
        "dataset": str(folder / "data.jsonl"),
        "max_steps": 2,
        "per_device_batch_size": 4,
        "learning_rate": 1e-3,
        "lr_scheduler": "constant",
        "max_sequence_length": 32,
        "save_every_steps": 1,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"
