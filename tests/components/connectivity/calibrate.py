"""The table that the forecast's limits come from: what was forecast, and what came of it, in the demo world.

    python tests/components/connectivity/calibrate.py FOLDER

FOLDER holds the demo's releases, which are made where they are missing (minutes), and a store. Each target is paired
with release 1 and its fine-tune: releases that went on from release 1 at the demo's rate and at higher ones, one that
grew from another seed, and release 2 with a share of its MLP units in another order, which is the same function
elsewhere in weight space. Scores are strict, as the demo's suite has them.
"""

import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.compatibility import ROLES
from components.connectivity.in_store import forecast_in_store
from components.demo import releases, world
from components.reference import local_copy
from components.save_checkpoint.save import save_checkpoint
from components.statistics import Statistics
from components.store import open_store
from tinymodels import read_weights, write_weights

HOT = {"at 4 times the rate": 2e-3, "at 12 times the rate": 6e-3, "at 40 times the rate": 2e-2}
MOVED = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


def main(folder: Path, targets: list[str]) -> None:
    """Print a row for each target."""
    torch.set_num_threads(1)
    os.environ["RECYCLE_HOME"] = str(folder)
    demo = folder / "demo"
    for number, (name, rate) in enumerate(HOT.items()):
        stage = releases.Stage(reading="release-2", steps=160, rows=32, learning_rate=rate)
        releases.RECIPES[folder_name(name)] = releases.Recipe(seed=8 + number, stages=(stage,), parent="release-1")
    for name in ("release-1", "release-2", "release-1-instruct"):
        releases.build(name, demo, progress=lambda line: None)
    say("| target base | gap | cosine | barrier | number | verdict | new facts, % | old facts, % |")
    say("| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
    for name in targets or every_target():
        say(row(name, made(name, demo), demo))


def say(line: str) -> None:
    """Show a line at once: the next one may take minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def every_target() -> list[str]:
    """All that the table has."""
    related = [f"release-{number}" for number in (2, 3, 4, 5)]
    return [*related, *HOT, *(f"{share:g} of the MLP units moved" for share in MOVED), "other-seed"]


def folder_name(name: str) -> str:
    """A folder's name for a target."""
    return name.replace(" ", "-")


def made(name: str, demo: Path) -> Path:
    """The folder of a target, made where it is missing."""
    if name.endswith("units moved"):
        return moved(demo / "release-2", demo / folder_name(name), float(name.split()[0]))
    return releases.build(folder_name(name), demo, progress=lambda line: None)


def moved(release: Path, folder: Path, share: float) -> Path:
    """The release with a share of each MLP's hidden units in another order: the same function."""
    if folder.exists():
        return folder
    draft = folder.with_suffix(".part")
    shutil.copytree(release, draft)
    weights = read_weights(draft)
    random = np.random.default_rng(0)
    layers = {name.rsplit(".", 2)[0] for name in weights if ".mlp." in name}
    for layer in sorted(layers):
        order = np.arange(weights[f"{layer}.up_proj.weight"].shape[0])
        chosen = random.permutation(order)[: round(share * len(order))]
        order[chosen] = np.roll(chosen, 1)
        for part in ("up_proj", "gate_proj"):
            weights[f"{layer}.{part}.weight"] = weights[f"{layer}.{part}.weight"][order]
        weights[f"{layer}.down_proj.weight"] = weights[f"{layer}.down_proj.weight"][:, order]
    write_weights(draft, weights)
    draft.rename(folder)
    return folder


def row(name: str, target: Path, demo: Path) -> str:
    """One target's row."""
    from components.transfer.transfer import transfer_in_store

    store = open_store()
    folders = (demo / "release-1", demo / "release-1-instruct", target)
    parents = {role: save_checkpoint(str(path), store) for role, path in zip(ROLES, folders, strict=True)}
    recycled, statistics = transfer_in_store(parents, scale="1", dtype="auto", store=store)
    found = forecast_in_store(parents[ROLES[0]], parents[ROLES[2]], statistics, store)
    with local_copy(recycled, store) as copy:
        new, old = (score(copy, group) for group in ("new", "old"))
    whole = Statistics.summary(statistics)
    barrier = f"{found.line.barrier:.3f}" if found.line else "–"
    figures = f"{whole['relative gap']:.2f} | {whole['cosine of delta and gap']:.2f} | {barrier} | {found.number:.2f}"
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
