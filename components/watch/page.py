"""What became of the releases that `watch` has seen, as a page."""

from datetime import UTC, datetime

from components.system import escape_markdown
from components.watch.ledger import Ledger

SHOWN = 200
"""Rows of the table; the ledger holds the rest."""


def markdown(ledger: Ledger, names: list[str], releases: str) -> str:
    """A page of Markdown on what became of these names, the latest first."""
    names = sorted(names, key=lambda name: _since(ledger, name), reverse=True)
    rows = [
        (name, ledger.status_of(name), _when(_since(ledger, name)), _reason(ledger, name)) for name in names[:SHOWN]
    ]
    lines = [f"| {' | '.join(map(escape_markdown, row))} |" for row in rows]
    more = [f"\nand {len(names) - SHOWN} more."] if len(names) > SHOWN else []
    counts = ", ".join(f"{number} {status}" for status, number in ledger.counts(names).items()) or "nothing there yet"
    head = [
        f"# Releases at {escape_markdown(releases)}",
        "",
        counts,
        "",
        "| release | state | since (UTC) | why |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *lines, *more]) + "\n"


def _since(ledger: Ledger, name: str) -> int:
    discovery = ledger.names[name]
    release = ledger.releases.get(discovery.release)
    return release.since if release else discovery.seen


def _reason(ledger: Ledger, name: str) -> str:
    discovery = ledger.names[name]
    release = ledger.releases.get(discovery.release)
    if release is None:
        return discovery.reason
    also = f" (as {release.name})" if release.name != name else ""
    if release.status == "done":
        return f"version {release.version}, gate {'passed' if release.passed else 'failed'}{also}"
    tried = f"attempt {release.attempt}"
    return (f"{tried}: {release.reason}" if release.status == "failed" else tried) + also


def _when(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
