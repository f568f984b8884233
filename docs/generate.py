"""Write the parts of the documentation that follow from the code: `make docs`, or with `--check` only tell.

A page says where such a part stands with two comments, `<!-- generated: NAME -->` and `<!-- end -->`. The name is one
of `PARTS` below, with an argument behind a space where the part takes one. `tests/test_docs.py` checks that what is
committed is what this program writes.
"""

import ast
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PART = re.compile(r"(<!-- generated: (?P<name>[^>]+?) -->\n)(?P<old>.*?)(<!-- end -->)", re.DOTALL)


def written(page: str) -> str:
    """A page's text with every generated part as the code has it now."""
    return PART.sub(lambda found: f"{found[1]}{_part(found['name'])}\n{found[4]}", page)


def _part(name: str) -> str:
    kind, _, argument = name.partition(" ")
    return PARTS[kind](argument) if argument else PARTS[kind]()


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


def code(text: object) -> str:
    """Text in backquotes, or nothing for nothing."""
    return f"`{text}`" if str(text) else ""


# Pipelines


def pipelines() -> str:
    """Each pipeline: what it does and its parameters."""
    from pipelines.parts import PIPELINES, load_pipeline

    return "\n\n".join(_pipeline(name, load_pipeline(name).function) for name in PIPELINES)


def _pipeline(name: str, function: Callable[..., Any]) -> str:
    from pipelines.parts import explained_parameters

    rows = [
        (code(each.name), code(_shown(each.default)) or "empty", each.explanation)
        for each in explained_parameters(function)
    ]
    # How a checkpoint is named stands above, once for all pipelines.
    paragraphs = (inspect.getdoc(function) or "").partition("\nArgs:\n")[0].strip().split("\n\n")
    text = "\n\n".join(one for one in paragraphs if not one.startswith("A checkpoint is named as"))
    return f"## {name}\n\n{text}\n\n{table(('parameter', 'default', 'meaning'), rows)}"


def _shown(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


# Command line


def commands() -> str:
    """Each command's usage, explanation and options."""
    from pipelines.cli.main import main

    return "\n\n".join(_command(path, command) for path, command in leaves(main, "recycle"))


def leaves(command: click.Command, path: str) -> Iterable[tuple[str, click.Command]]:
    """Every command that is no group, by the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, child in command.commands.items():
        yield from leaves(child, f"{path} {name}")


def _command(path: str, command: click.Command) -> str:
    from pipelines.cli.main import CONTEXT

    # With the names of the main group, since a command keeps its help option as it was first asked for.
    context = click.Context(command, info_name=path, **CONTEXT)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    rows = []
    for option in command.params:
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            rows.append((code(record[0]), " ".join(record[1].split())))
    explained = " ".join((command.help or "").split())
    return f"### {path}\n\n`{usage}`\n\n{explained}\n\n{table(('option', 'meaning'), rows)}"


# Settings, errors


def settings() -> str:
    """Every environment variable."""
    from components.settings import VARIABLES

    rows = [
        (code(one.name), f"{one.meaning}{' (a secret)' if one.secret else ''}", code(one.default) or "none")
        for one in VARIABLES
    ]
    return table(("variable", "meaning", "default"), rows)


def errors() -> str:
    """Each kind of error and its exit code."""
    from components import errors as module

    kinds = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, module.RecycleError) and kind is not module.RecycleError
    ]
    kinds.sort(key=lambda kind: inspect.getsourcelines(kind)[1])
    rows = [
        (code(kind.__name__), "2" if issubclass(kind, module.BadParameter) else "1", inspect.getdoc(kind) or "")
        for kind in kinds
    ]
    return table(("error", "exit code", "meaning"), rows)


# Documents and definitions


def fields(path: str) -> str:
    """The fields of a model, as `module:Class`, with the strings that stand below them."""
    module, _, name = path.partition(":")
    model: type[BaseModel] = getattr(import_module(module), name)
    explained = {key: text for kind in reversed(model.__mro__) for key, text in _strings(kind).items()}
    rows = []
    for key, field in model.model_fields.items():
        annotation = _kind(field.annotation)
        rows.append((code(key), annotation, _default(field), " ".join(explained.get(key, "").split())))
    return table(("field", "value", "default", "meaning"), rows)


@cache
def _strings(kind: type) -> dict[str, str]:
    """The string below each annotated name in a class's body."""
    try:
        tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = getattr(tree.body[0], "body", [])
    found = {}
    for one, following in pairwise(body):
        if (
            isinstance(one, ast.AnnAssign)
            and isinstance(one.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[one.target.id] = str(following.value.value)
    return found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ("", (), [], {}):
        return "none"
    return code(_shown(default))


def _kind(annotation: Any) -> str:  # noqa: ANN401 - whatever stands behind a field
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in plain:
        return plain[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(code(value) for value in arguments if value != "")
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(one) for one in arguments if one is not type(None))
    if origin in (tuple, list):
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "map"
    if hasattr(annotation, "__metadata__"):
        return _kind(arguments[0])
    return getattr(annotation, "__name__", str(annotation))


def suites() -> str:
    """The suites that ship, with their tasks; one that extends another asks that one's."""
    shipped = dict(_shipped("evaluation suite"))
    rows = []
    for name, content in shipped.items():
        asked = shipped[content["extends"]] if "extends" in content else content
        tasks = ", ".join(code(task["name"]) for task in asked["tasks"])
        same = f"those of {code(content['extends'])}" if "extends" in content else tasks
        rows.append((code(name), asked["harness"], content["description"], same))
    return table(("suite", "harness", "what", "tasks"), rows)


def recipes() -> str:
    """The recipes that ship."""
    rows = []
    for name, content in _shipped("recipe"):
        length = f"{content['max_steps']:,} steps" if "max_steps" in content else f"{content['epochs']} epochs"
        rows.append((code(name), content.get("trainer", "trl"), length, " ".join(content["description"].split())))
    return table(("recipe", "trainer", "length", "what"), rows)


def _shipped(kind: str) -> Iterable[tuple[str, dict[str, Any]]]:
    from components.definitions import FOLDERS

    for path in sorted(FOLDERS[kind].glob("*.yaml")):
        yield path.stem, yaml.safe_load(path.read_text(encoding="utf-8"))


def families() -> str:
    """Releases that have names."""
    from components.references import families as known

    rows = [
        (code(f"{family.name}:{one.name}"), f"{one.repo}@{one.revision}", code(one.base))
        for family in known().values()
        for one in family.releases
    ]
    return table(("release", "on the hub", "fine-tune of"), rows)


def transfers() -> str:
    """Published transfers that have names; a grid's stand in one line."""
    from components.references import families as known

    rows = []
    for family in known().values():
        for one in family.transfers:
            rows.append(
                (code(f"{family.name}:{one.name}"), one.source_base, one.source_tuned, one.target_base, one.suite)
            )
        for grid in family.grids:
            names = f"{family.name}:{grid.releases[0]}-to-{grid.releases[-1]}"
            rows.append(
                (
                    f"{code(names)} and so on",
                    f"one of {', '.join(grid.releases)}",
                    f"made by the recipe {grid.recipe}",
                    "another of them",
                    grid.suite,
                )
            )
    return table(("transfer", "source base", "source fine-tuned", "target base", "suite"), rows)


# Architecture


def floors() -> str:
    """The packages from the top floor to the bottom one, with each one's idea."""
    from tests.test_architecture import FLOORS

    lines = []
    for number, packages in reversed(list(enumerate(FLOORS))):
        for package in packages:
            lines.append(f"{number:>2}  {package:<34}{_idea(package)}")
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```"


def imports() -> str:
    """Which packages each package imports: the import graph, read from the code."""
    from tests.test_architecture import FLOORS, MODULES, floor_of, name_of
    from tests.test_architecture import imports as imported

    graph: dict[str, set[str]] = {package: set() for packages in FLOORS for package in packages}
    for path in MODULES:
        own = floor_of(name_of(path))
        for module, name in imported(path):
            found = floor_of(f"{module}.{name}") or floor_of(module)
            if own and found and found[1] != own[1]:
                graph[own[1]].add(found[1])
    order = list(graph)
    lines = []
    for package in reversed(order):
        below = sorted(graph[package], key=order.index, reverse=True)
        short = ", ".join(name.removeprefix("components.") for name in below)
        lines.append(f"{package:<34} → {short or '(nothing)'}")
    return "```text\n" + "\n".join(lines) + "\n```"


def _idea(package: str) -> str:
    text = inspect.getdoc(import_module(package)) or ""
    return text.splitlines()[0].rstrip(".") if text else ""


PARTS: dict[str, Callable[..., str]] = {
    "pipelines": pipelines,
    "commands": commands,
    "settings": settings,
    "errors": errors,
    "fields": fields,
    "suites": suites,
    "recipes": recipes,
    "families": families,
    "transfers": transfers,
    "floors": floors,
    "imports": imports,
}
"""What can be generated, by name."""


def main() -> None:
    """Write every page, or with `--check` end with exit code 1 where one is not as it should be."""
    stale = [page for page in PAGES if written(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    if "--check" in sys.argv:
        sys.exit(f"run `make docs`: {', '.join(page.name for page in stale)} would change" if stale else 0)
    for page in stale:
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
