"""Suites, families, recipes and published scores: a YAML file each, which ships here or is the user's own.

suite, path = load_definition("evaluation suite", "olmes-base", SuiteFile)
"""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from components.errors import BadParameter, describe_validation

FOLDERS = {
    "evaluation suite": Path(__file__).parent / "evaluate" / "suites",
    "model family": Path(__file__).parent / "references" / "families",
    "set of published scores": Path(__file__).parent / "reports" / "publications",
    "recipe": Path(__file__).parent / "finetune" / "recipes",
}
"""Folders of the files that ship, by the kind of what they define."""

Definition = TypeVar("Definition", bound=BaseModel)


def find_definition(kind: str, name: str) -> Path:
    """The file that `name` stands for: one that ships with Recycle, or a path ending in `.yaml`.

    Raises:
        BadParameter: there is none; the message lists those that ship.
    """
    shipped = {path.stem: path for path in sorted(FOLDERS[kind].glob("*.yaml"))}
    path = shipped.get(name, Path(name).expanduser())
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise BadParameter(
            f"there is no {kind} {name!r}",
            hint=f"choose one of {', '.join(shipped)}, or give the path of a .yaml file",
        )
    return path


def load_definition(kind: str, name: str, model: type[Definition]) -> tuple[Definition, Path]:
    """Read and validate the file that `name` stands for, and tell where it is.

    Raises:
        BadParameter: there is none, or it is not a `model`.
    """
    path = find_definition(kind, name)
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))), path
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadParameter(f"{path} is not YAML: {error}", hint="correct it") from None
    except ValidationError as error:
        raise BadParameter(
            f"{path} is not {'an' if kind[0] in 'aeiou' else 'a'} {kind}: {describe_validation(error)}",
            hint=f"compare it with those in {FOLDERS[kind]}",
        ) from None
