"""λ, the scale of the diff vector: one number, or numbers by tensor name."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from components.errors import BadParameter

EVERY = "*"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Rules of a glob and a number each; the first whose glob matches a tensor's name holds for it."""

    rules: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        """The one spelling of equal scales: a number, or `glob=number` with commas between."""
        if [glob for glob, _ in self.rules] == [EVERY]:
            return repr(self.rules[0][1])
        return ",".join(f"{glob}={number!r}" for glob, number in self.rules)

    def by_name(self, names: Iterable[str]) -> dict[str, float]:
        """λ by tensor name.

        Raises:
            BadParameter: a tensor has no rule, or a rule has no tensor.
        """
        ruled = {name: self._rule(name) for name in sorted(names)}
        for glob, _ in self.rules:
            if ruled and glob not in ruled.values() and glob != EVERY:
                raise BadParameter(
                    f"scale has a rule for {glob!r}, which is the first to match for no tensor",
                    hint=f"check the glob against the tensors' names, such as {next(iter(ruled))}, "
                    "and the rules' order",
                )
        numbers = dict(self.rules)
        return {name: numbers[glob] for name, glob in ruled.items()}

    def _rule(self, name: str) -> str:
        for glob, _ in self.rules:
            if fnmatchcase(name, glob):
                return glob
        raise BadParameter(
            f"scale has no rule for the tensor {name}", hint="end the rules with *=1.0, or another number"
        )


def parse_scale(text: str) -> Scale:
    """Read λ: a number, or rules such as `*.mlp.*=0.8,*=1.0`.

    Raises:
        BadParameter: it is neither, or a number is not finite.
    """
    if "=" not in text:
        return Scale(rules=((EVERY, _number(text, text)),))
    rules = tuple(_parse_rule(rule, text) for rule in text.split(","))
    if len(dict(rules)) != len(rules):
        raise BadParameter(f"scale is {text!r}, where a glob stands twice", hint="give each glob one number")
    return Scale(rules=rules)


def _parse_rule(rule: str, text: str) -> tuple[str, float]:
    glob, equals, number = (part.strip() for part in rule.partition("="))
    if not equals or not glob:
        raise BadParameter(
            f"scale is {text!r}, where {rule!r} is not a rule", hint="write rules as glob=number, with commas between"
        )
    return glob, _number(number, text)


def _number(number: str, text: str) -> float:
    try:
        scale = math.nan if "_" in number else float(number)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise BadParameter(
            f"scale is {text!r}, where {number!r} is not a finite number",
            hint="give a number such as 1.0, or rules such as *.mlp.*=0.8,*=1.0",
        )
    return scale
