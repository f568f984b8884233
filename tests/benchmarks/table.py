"""Tables in Markdown, aligned for a terminal too."""

from collections.abc import Sequence
from statistics import median

from measure import Measured
from rows import LIMIT_NAMES, Row
from session import Session

Runs = dict[str, list[Measured]]
GB = 1e9


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The first column is text, all others are numbers."""
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        f"| {line[0]:{widths[0]}} | {' | '.join(map(str.rjust, line[1:], widths[1:]))} |"
        for line in [head, rule, *lines]
    )


def seconds(runs: Sequence[Measured]) -> float:
    """The median."""
    return median(run.seconds for run in runs)


def limit(runs: Runs) -> tuple[str, float]:
    """The faster of the two ways to write, and its seconds."""
    return min(((name, seconds(runs[name])) for name in LIMIT_NAMES.values()), key=lambda pair: pair[1])


def timings(rows: Sequence[Row], session: Session, hash_seconds: float) -> str:
    """One line a program that ran.

    Args:
        rows: the programs.
        session: has run them.
        hash_seconds: what the digest of one checkpoint takes on all cores together.
    """
    head = (
        *("", "s", "min–max", "× limit", "× max(limit, sha256)", "start s", "CPU s", "flush s"),
        *("peak GB", "own GB", "read GB", "written GB", "differs"),
    )
    least = limit(session.runs)[1]
    lines = [_line(row, session, least, hash_seconds * row.hashed) for row in rows if row.name in session.runs]
    return markdown(head, lines)


def _line(row: Row, session: Session, least: float, hashing: float) -> list[str]:
    runs = session.runs[row.name]
    wall = seconds(runs)
    return [
        row.name,
        f"{wall:.2f}",
        f"{min(run.seconds for run in runs):.2f}–{max(run.seconds for run in runs):.2f}" if len(runs) > 1 else "1 run",
        f"{wall / least:.2f}",
        f"{wall / max(least, hashing):.2f}" if row.hashed else "",
        f"{session.starts[row.name]:.2f}" if row.name in session.starts else "",
        f"{median(run.cpu for run in runs):.2f}",
        f"{median(run.flush for run in runs):.2f}",
        f"{max(run.peak for run in runs) / GB:.2f}",
        f"{max(run.own for run in runs) / GB:.2f}",
        f"{max(run.read for run in runs) / GB:.2f}",
        f"{max(run.written for run in runs) / GB:.2f}",
        _share(session.shares[row.name]) if row.name in session.shares else "",
    ]


def _share(share: float) -> str:
    return "0" if share == 0 else f"{share:.3%}"
