"""A small family of releases for tests of `watch`: a base, its fine-tune, releases near them, and others."""

import shutil
from pathlib import Path

import numpy as np

from tests.support.tinymodels import make_checkpoint, read_weights, write_weights


def near(origin: Path, folder: Path, *, seed: int, std: float = 0.005) -> Path:
    """A copy of a checkpoint whose weights moved a little."""
    shutil.copytree(origin, folder)
    generator = np.random.default_rng(seed)
    moved = {
        name: (tensor + generator.standard_normal(tensor.shape) * std).astype(np.float32)
        for name, tensor in read_weights(origin).items()
    }
    write_weights(folder, moved)
    return folder


def make_world(folder: Path, *, seed: int = 0) -> Path:
    """`base` and `tuned` in the folder, and `releases`, which is empty."""
    make_checkpoint(folder / "base", seed=seed, layers=1)
    near(folder / "base", folder / "tuned", seed=1)
    (folder / "releases").mkdir()
    return folder
