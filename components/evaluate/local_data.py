"""Data sets in folders, as Hugging Face `datasets` reads them: a README.md that lists splits, and JSON lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from components.errors import BadParameter

HINT = (
    "give a folder whose README.md begins with YAML such as `configs: [{config_name: main, data_files: "
    "[{split: test, path: test.jsonl}]}]` between two lines of ---, with the JSON lines files beside it"
)


def check_local_data(folder: Path) -> None:
    """Refuse a folder that OLMES could not read its questions from, before a model is loaded.

    Raises:
        BadParameter: it is no such folder, a file is missing, elsewhere, empty or no JSON lines, or there is a script,
            which OLMES would run.
    """
    if not folder.is_dir():
        raise BadParameter(f"the data folder {folder} is not there", hint="correct data in the suite")
    scripts = sorted(path.name for path in folder.glob("*.py"))
    if scripts:
        raise BadParameter(
            f"the data folder {folder} holds the script {scripts[0]}, which would be run", hint="remove it; give data"
        )
    files = list(_files(folder))
    if not files:
        raise _bad(folder / "README.md", "lists no data files")
    for path in files:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise _bad(path, "lies outside of the folder, so that a change of it would not be noticed")
        _check_rows(path)


def _files(folder: Path) -> Iterator[Path]:
    for config in _configs(folder / "README.md"):
        listed = config.get("data_files") if isinstance(config, dict) else None
        for entry in listed if isinstance(listed, list) else []:
            if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or "split" not in entry:
                raise _bad(folder / "README.md", f"has the data file {entry!r} without a split and one path")
            yield folder / entry["path"]


def _configs(readme: Path) -> list[Any]:
    try:
        _, front, _ = readme.read_text(encoding="utf-8").split("---", 2)
        content = yaml.safe_load(front)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError):
        raise _bad(readme, "is not there or does not begin with YAML") from None
    configs = content.get("configs") if isinstance(content, dict) else None
    if not isinstance(configs, list):
        raise _bad(readme, "lists no configs")
    return configs


def _check_rows(path: Path) -> None:
    try:
        with path.open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror})") from None
    except ValueError:
        raise _bad(path, "is not JSON lines") from None
    if not rows:
        raise _bad(path, "is empty")
    if not all(isinstance(row, dict) for row in rows):
        raise _bad(path, "has a row that is no JSON object")


def _bad(path: Path, what: str) -> BadParameter:
    return BadParameter(f"{path} {what}", hint=HINT)
