"""The programs that are compared: each reads the inputs at one place and writes one folder."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from generate import PLAIN, ROLES

from components.transfer.stream import PipelineSizes

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
MEMORY = 512_000_000
"""What `recycle transfer` takes for its buffers unless told otherwise."""

Command = Callable[[Path, Path], list[str]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A program."""

    name: str
    command: Command
    """Its command line for a place with inputs and an output."""
    hashed: int = 0
    """How many checkpoints it digests."""
    compared: bool = False
    """Whether its result is compared with the reference's."""
    expected: bool = False
    """Whether it is the reference."""
    environment: dict[str, str] = field(default_factory=lambda: {"PYTHONPATH": str(ROOT)})


LIMIT_NAMES = {"cached": "limit, cached writes", "direct": "limit, direct writes"}
DIGESTS = "recycle, digests and statistics"
WITHOUT_MANIFESTS = "recycle, inputs without manifests"


def limits() -> list[Row]:
    """Reading and writing alone, with the engine's blocks and threads."""
    shape = PipelineSizes.fitting(MEMORY)
    sizes = [str(shape.span_bytes), str(shape.threads)]
    return [Row(name=name, command=_program("limit.py", mode, *sizes)) for mode, name in LIMIT_NAMES.items()]


def ours() -> list[Row]:
    """From the bare engine to the command with everything on."""
    return [
        _engine("recycle, no digests, no statistics", "bare"),
        _engine("recycle, statistics", "statistics"),
        digests(),
        Row(name="recycle, inputs verified too", command=_recycle("--verify"), hashed=4, compared=True),
        without_manifests(),
    ]


def digests(name: str = DIGESTS, **environment: str) -> Row:
    """What a user runs."""
    return Row(
        name=name, command=_recycle(), hashed=1, compared=True, environment={"PYTHONPATH": str(ROOT)} | environment
    )


def without_manifests() -> Row:
    return Row(name=WITHOUT_MANIFESTS, command=_recycle(inputs=PLAIN), hashed=4, compared=True)


def sha256() -> Row:
    block = str(PipelineSizes.fitting(MEMORY).span_bytes)
    script = str(PROGRAMS / "sha256.py")
    return Row(
        name="sha256 of the output alone, one core",
        command=lambda place, output: [sys.executable, script, block, str(place / ROLES[-1]), str(output)],
        hashed=1,
    )


def reference() -> Row:
    return Row(name="reference in memory (torch)", command=_program("in_memory.py"), expected=True)


def stages(report: Path) -> Row:
    return Row(name="stages", command=_program("stages.py", str(report)), hashed=1)


def _engine(name: str, mode: str) -> Row:
    return Row(name=name, command=_program("stream.py", mode, str(MEMORY)))


def _program(script: str, *arguments: str) -> Command:
    def command(place: Path, output: Path) -> list[str]:
        inputs = [str(place / role) for role in ROLES]
        return [sys.executable, str(PROGRAMS / script), *arguments, *inputs, str(output)]

    return command


def _recycle(*options: str, inputs: str = ".") -> Command:
    def command(place: Path, output: Path) -> list[str]:
        references = [str(place / inputs / role) for role in ROLES]
        code = "from pipelines.cli.main import main; main()"
        return [sys.executable, "-c", code, "transfer", *options, *references, str(output)]

    return command
