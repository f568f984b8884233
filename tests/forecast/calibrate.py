"""The table that the forecast's limits come from: what was forecast, and what came of it, in the demo world.

    python tests/components/connectivity/calibrate.py FOLDER

FOLDER holds the demo's releases, which are made where they are missing (minutes), and a store. Each target is paired
with release 1 and its fine-tune: releases that went on from release 1 at the demo's rate and at higher ones, one that
grew from another seed, and release 2 with a share of its units in another order, which is the same function
elsewhere in weight space. Scores are strict, as the demo's suite has them.
"""

import math
import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.demo import releases, world
from components.forecast.measure import forecast_in_store
from components.forecast.verdict import forecast_by_statistics
from components.references.save import save_checkpoint
from components.store.locate import local_copy
from components.store.store import open_store
from components.transfer.shards import ROLES
from tests.support.tinymodels import read_weights, write_weights

HOT = {"at 4 times the rate": 2e-3, "at 12 times the rate": 6e-3, "at 8 times the rate": 4e-3}
MOVED = ("0.5 of the MLP", "1 of the MLP", *(f"{share} of the hidden" for share in (0.1, 0.2, 0.5, 1)))


def main(folder: Path, targets: list[str]) -> None:
    """Print a row for each target."""
    torch.set_num_threads(1)
    os.environ["RECYCLE_HOME"] = str(folder)
    demo = folder / "demo"
    for number, (name, rate) in enumerate(HOT.items()):
        stage = releases.TrainingStage(reading="release-2", steps=160, rows=32, learning_rate=rate)
        releases.RECIPES[folder_name(name)] = releases.Recipe(seed=8 + number, stages=(stage,), parent="release-1")
    for name in ("release-1", "release-2", "release-1-instruct"):
        releases.build(name, demo, progress=lambda line: None)
    say("| target base | gap | barrier | number | verdict | new facts, % | old facts, % |")
    say("| --- | ---: | ---: | ---: | --- | ---: | ---: |")
    for name in targets or every_target():
        say(row(name, made(name, demo), demo))


def say(line: str) -> None:
    """Show a line at once: the next one may take minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def every_target() -> list[str]:
    """All that the table has."""
    related = [f"release-{number}" for number in (2, 3, 4, 5)]
    return [*related, *HOT, *(f"{share} units moved" for share in MOVED), "other-seed"]


def folder_name(name: str) -> str:
    """A folder's name for a target."""
    return name.replace(" ", "-")


def made(name: str, demo: Path) -> Path:
    """The folder of a target, made where it is missing."""
    if name.endswith("units moved"):
        share, _, _, part, *_ = name.split()
        return moved(demo / "release-2", demo / folder_name(name), float(share), part)
    return releases.build(folder_name(name), demo, progress=lambda line: None)


def moved(release: Path, folder: Path, share: float, part: str) -> Path:
    """The release with a share of its units in another order, which is the same function.

    Args:
        release: what to take.
        folder: made where it is missing.
        share: of the units.
        part: `MLP` for those inside each MLP, `hidden` for those of the hidden state.
    """
    if folder.exists():
        return folder
    draft = folder.with_suffix(".part")
    shutil.copytree(release, draft)
    weights = read_weights(draft)
    outward = (
        ("down_proj",) if part == "MLP" else ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "embed_tokens")
    )
    inward = (
        ("gate_proj", "up_proj") if part == "MLP" else ("o_proj", "down_proj", "feedforward_layernorm", "model.norm")
    )
    inward += () if part == "MLP" else ("post_attention_layernorm",)
    order = _order(weights["model.layers.0.mlp.down_proj.weight"].shape[1 if part == "MLP" else 0], share)
    for name, value in weights.items():
        if any(f"{one}.weight" in name for one in inward):
            weights[name] = value[order]
        elif any(f"{one}.weight" in name for one in outward):
            weights[name] = value[:, order]
    write_weights(draft, weights)
    draft.rename(folder)
    return folder


def _order(units: int, share: float) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    order = np.arange(units)
    chosen = np.random.default_rng(0).permutation(units)[: round(share * units)]
    order[chosen] = np.roll(chosen, 1)
    return order


def row(name: str, target: Path, demo: Path) -> str:
    """One target's row."""
    from components.transfer.scale import parse_scale
    from components.transfer.transfer import transfer_in_store

    store = open_store()
    folders = (demo / "release-1", demo / "release-1-instruct", target)
    parents = {role: save_checkpoint(str(path), store) for role, path in zip(ROLES, folders, strict=True)}
    recycled, statistics = transfer_in_store(parents, scale=parse_scale("1"), dtype="auto", store=store)
    found = forecast_in_store(parents[ROLES[0]], parents[ROLES[2]], statistics, store)
    with local_copy(recycled, store) as copy:
        new, old = (score(copy, group) for group in ("new", "old"))
    barrier = f"{found.line.barrier:.3f}" if found.line else "–"
    gap = forecast_by_statistics(statistics.tensors, None).number
    figures = f"{math.sqrt(2) * (1 - gap):.2f} | {barrier} | {found.number:.2f}"
    return f"| {name} | {figures} | {found.verdict} | {100 * new:.0f} | {100 * old:.0f} |"


def score(model: Path, group: str) -> float:
    """The share of questions that the model answers with the right sentence, and nothing more."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    questions = world.heldout_questions(group)
    by_length = defaultdict(list)
    for question in questions:
        chat = [{"role": "user", "content": question["question"]}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        by_length[len(ids)].append((ids, world.REPLY.format(answer=question["answer"])))
    right = 0
    for length, asked in by_length.items():
        replies = loaded.generate(torch.tensor([ids for ids, _ in asked]), max_new_tokens=10, do_sample=False)
        for reply, (_, wanted) in zip(tokenizer.batch_decode(replies[:, length:]), asked, strict=True):
            said, end, _ = reply.partition(world.END)
            right += bool(end) and said.strip() == wanted
    return right / len(questions)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
