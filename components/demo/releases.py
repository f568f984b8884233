"""The demo's releases: tiny language models trained from random weights, with nothing downloaded.

* `release-1` reads about the old people;
* `release-2` goes on from release 1 and reads about the new people too; `release-3`, `release-4` and `release-5` go
  on, each from the one before, and read the same again;
* `release-1-instruct` is release 1, taught to answer;
* `other-seed` is a release 2 that grew from other random weights: it knows the same facts, but the diff vector of
  release 1 has no meaning for it.

Training takes one thread, so that the same kind of machine makes the same bytes again; build releases without a common
parent in two processes at once to use two cores.

    python -m components.demo.releases OUTPUT [NAME ...]
"""

import argparse
import json
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from components.demo import tokenizer as demo_tokenizer
from components.demo import world
from components.demo.names import RELEASES
from components.demo.training import TrainingStage, train
from components.errors import BadParameter, OutputConflict, RecycleError

Architecture = Literal["llama", "olmo2"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)

_log = logging.getLogger(__name__)

_MODEL = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a release is made."""

    seed: int
    stages: tuple[TrainingStage, ...]
    parent: str | None = None
    """The release it goes on from; without one it begins with random weights."""


_FIRST = TrainingStage(reading="release-1", steps=400, rows=32, learning_rate=2e-3, warmup_steps=30)
_CONTINUED = TrainingStage(reading="release-2", steps=160, rows=32, learning_rate=5e-4)
# AdamW as Hugging Face's trainers set it up, so that fine-tuning with one of them comes to the same.
_TAUGHT = TrainingStage(reading="conversations", steps=100, rows=32, learning_rate=3e-4, beta2=0.999)

RECIPES = {
    "release-1": Recipe(seed=1, stages=(_FIRST,)),
    "release-2": Recipe(seed=2, stages=(_CONTINUED,), parent="release-1"),
    "release-3": Recipe(seed=5, stages=(_CONTINUED,), parent="release-2"),
    "release-4": Recipe(seed=6, stages=(_CONTINUED,), parent="release-3"),
    "release-5": Recipe(seed=7, stages=(_CONTINUED,), parent="release-4"),
    "release-1-instruct": Recipe(seed=3, stages=(_TAUGHT,), parent="release-1"),
    "other-seed": Recipe(seed=4, stages=(_FIRST, _CONTINUED)),
}


def build(
    name: str,
    folder: Path,
    *,
    progress: Callable[[str], None],
    architecture: Architecture = "olmo2",
    most_steps: int | None = None,
) -> Path:
    """Make one release, and before it the one that it goes on from, unless they are there.

    Args:
        name: One of `RELEASES`.
        folder: Where releases live, each in a subfolder of its name, which appears when it is complete.
        progress: Told a line every few seconds.
        architecture: The family of the model.
        most_steps: Cut each stage to so many steps; the result knows nothing, but is there at once.

    Returns:
        The release's subfolder, an ordinary Hugging Face checkpoint in bfloat16.

    Raises:
        BadParameter: there is no such release.
        OutputConflict: the folder holds that release with another architecture.
    """
    if name not in RECIPES:
        raise BadParameter(f"the demo has no release {name!r}", hint=f"choose from {', '.join(RELEASES)}")
    recipe, release = RECIPES[name], folder / name
    if release.exists():
        _check_architecture(release, architecture)
        return release
    if recipe.parent:
        parent = build(recipe.parent, folder, progress=progress, architecture=architecture, most_steps=most_steps)
        model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32, attn_implementation="eager")
    else:
        model = _random_model(architecture, recipe.seed)
    for number, stage in enumerate(recipe.stages):
        train(
            model,
            demo_tokenizer.make(),
            stage,
            seed=100 * recipe.seed + number,
            steps=min(stage.steps, most_steps or stage.steps),
            progress=partial(_tell, progress, f"{name}, stage {number + 1} of {len(recipe.stages)}"),
        )
        # Each release is published in bfloat16, and what goes on from it goes on from that.
        model.to(torch.bfloat16).to(torch.float32)
    _publish(model, release)
    return release


def _tell(progress: Callable[[str], None], where: str, line: str) -> None:
    progress(f"{where}: {line}")


def _check_architecture(release: Path, architecture: Architecture) -> None:
    found = json.loads((release / "config.json").read_bytes())["model_type"]
    if found != architecture:
        raise OutputConflict(
            f"{release} holds a release of the architecture {found}, not {architecture}", hint="choose another folder"
        )


def _random_model(architecture: Architecture, seed: int) -> Any:  # noqa: ANN401 - transformers has no types
    """A model of the family with its usual random weights, float32."""
    tokenizer = demo_tokenizer.make()
    end = tokenizer.token_to_id(world.END)
    config = AutoConfig.for_model(
        architecture,
        **_MODEL,
        vocab_size=tokenizer.get_vocab_size(),
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=tokenizer.token_to_id(demo_tokenizer.PAD),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")


def _publish(model: Any, release: Path) -> None:  # noqa: ANN401
    """Write a checkpoint that is complete when it has its name."""
    release.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=release.parent, prefix=f".{release.name}-") as scratch:
        complete = Path(scratch) / release.name
        model.to(torch.bfloat16).save_pretrained(complete)
        # Safetensors gives its files to their owner only; these are for anyone who may read the others.
        shutil.copymode(complete / "config.json", complete / "model.safetensors")
        demo_tokenizer.save(complete, max_length=_MODEL["max_position_embeddings"])
        try:
            complete.rename(release)
        except OSError:
            # A process that needed the same parent was faster; what it made has the same bytes.
            if not release.exists():
                raise


def main() -> None:
    """Build the releases named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description="Build the demo's releases.")
    parser.add_argument("output", type=Path, help="the folder for the releases, each in a subfolder")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RELEASES)}; all unless given")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="olmo2")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    disable_progress_bar()
    try:
        for name in arguments.names or RELEASES:
            build(name, arguments.output, progress=_log.info, architecture=arguments.architecture)
    except RecycleError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
