"""Named things that people extend: a YAML file each, beside the step that reads it, or a file of the user's own."""

from importlib.resources import files
from pathlib import Path

from components.errors import BadParameter

KINDS = {"suite": "evaluate/suites", "recipe": "finetune/recipes"}
"""What can be named, and where in this package the files are."""


def find_named(kind: str, name: str) -> Path:
    """The YAML file that `name` stands for: one that ships with Recycle, or a path ending in `.yaml`.

    Raises:
        BadParameter: there is none; the message lists those that ship.
    """
    folder = Path(str(files("components"))) / KINDS[kind]
    shipped = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    if path.suffix == ".yaml" and path.is_file():
        return path
    raise BadParameter(
        f"there is no {kind} {name!r}", do=f"use {', '.join(shipped)}, or the path of a {kind} file ending in .yaml"
    )
