"""How fast a transfer is, beside the least that any program must do, the reference in memory and mergekit.

    python tests/benchmarks/bench_transfer.py [--parameters 1.5e9] [--runs 3] [--folder DIR]
    python tests/benchmarks/bench_transfer.py --sweep 0.1,0.3,1,3 | --sparse 7 | --profile

Checkpoints are generated; every row is a process of its own over the same files, in one session on one machine. Rows
take turns, so that a machine that grows slower does so for all of them. Nothing is asserted about time.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import machine
import peer
import rows
from generate import Llama, size
from rows import Row
from session import Session
from table import GB, limit, markdown, seconds, timings

LEGEND = """\
s: wall seconds, the program's start included; start s: the same program over checkpoints of 1 M parameters. flush s: an
fsync of the output after the program's end; what waits for its disk, as the limits and Recycle do, has nothing left to
flush. peak: resident memory of the process tree, mapped files included; own: without them. read, written: by read and
write calls (rchar, wchar of /proc/PID/io, children included); mapped files do not show. differs: share of the output's
elements whose bits are not the reference's."""


def main() -> None:
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        if arguments.sweep:
            sweep(Path(place), arguments.sweep, arguments.runs)
        elif arguments.sparse:
            sparse(Path(place), arguments.sparse)
        elif arguments.profile:
            profile(Path(place), arguments.parameters)
        else:
            compare(Path(place), arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times the transfer beside what it cannot beat.")
    parser.add_argument("--parameters", type=_number, default=1_500_000_000, help="in each of the three checkpoints")
    parser.add_argument("--runs", type=int, default=3, help="of Recycle and of the limits; medians are shown")
    parser.add_argument("--peer-runs", type=int, default=1, help="of the reference and mergekit; 0 leaves them out")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where files go; room for five checkpoints")
    parser.add_argument("--mergekit", type=Path, help="an environment or its python; else one is made in FOLDER")
    parser.add_argument("--sweep", type=_sizes, help="sizes in billions, 0.1,0.3,1,3: how time grows, instead")
    parser.add_argument("--sparse", type=_billions, help="billions of parameters: memory over files of holes, instead")
    parser.add_argument("--profile", action="store_true", help="seconds by stage of one run, instead")
    return parser.parse_args()


def _number(text: str) -> int:
    return int(float(text.replace("_", "")))


def _billions(text: str) -> int:
    return int(float(text) * 1e9)


def _sizes(text: str) -> list[int]:
    return [_billions(part) for part in text.split(",")]


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    """Everything over warm inputs, then what a user has the choice of over cold ones."""
    llama = Llama.of(arguments.parameters)
    session = Session(folder, llama, checkpoints=5)
    peers, missing = _peers(session, arguments) if arguments.peer_runs else ([], [])
    mine = [*rows.limits(), *rows.ours(), rows.sha256()]
    head = _head(folder, llama)
    with tempfile.TemporaryDirectory() as empty:
        first = rows.digests("recycle, the same, first run after install", NUMBA_CACHE_DIR=empty)
        session.warm(first)
    session.rehearse([*mine, *peers])
    # The reference comes first: the others are compared with its result.
    _take_turns(session.warm, peers, arguments.peer_runs)
    _take_turns(session.warm, mine, arguments.runs)
    rate = machine.sha256_rate()
    hashing = session.checkpoint_bytes / rate / machine.cores()
    print(f"{head}\n\nInputs read once before each run, so in the page cache as far as they fit:\n")
    print(timings([*mine, first, *peers], session, hashing))
    for reason in missing:
        print(f"\n{reason}")
    _print_limit(session)
    print(
        f"sha256 on one core: {rate / GB:.2f} GB/s; on all, {hashing:.2f} s for the output "
        f"and {4 * hashing:.2f} s for the inputs too.\n{LEGEND}"
    )
    chosen = [*rows.limits(), rows.digests()]
    fastest = sorted(peers[1:], key=lambda row: seconds(session.runs[row.name]))[:1]
    session.runs.clear()
    _take_turns(session.cold, chosen, arguments.runs)
    _take_turns(session.cold, [*peers[:1], *fastest], arguments.peer_runs)
    print(f"\nInputs on the disk alone ({machine.chill(session.files)} before each run), programs in the page cache:\n")
    print(timings([*chosen, *peers], session, hashing))
    _print_limit(session)


def _take_turns(measure: Callable[[Row], None], some: list[Row], count: int) -> None:
    for _ in range(count):
        for row in some:
            measure(row)


def _peers(session: Session, arguments: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """The programs of others, the reference first, and why some are missing."""
    if not session.fits_in_memory(3):
        return [], [
            "The reference is left out, and with it what is compared with it: three models do not fit in memory."
        ]
    python = peer.python_of(arguments.mergekit, arguments.folder)
    if isinstance(python, str):
        return [rows.reference()], [f"{peer.REQUIREMENT} is not installed: {python}"]
    return [rows.reference(), *peer.rows(python)], []


def _head(folder: Path, llama: Llama) -> str:
    return f"{machine.describe(folder)}\n{size(llama.tensors) / 1e9:.2f} B parameters × 3 in bfloat16"


def _print_limit(session: Session) -> None:
    name, least = limit(session.runs)
    print(f"\nThe limit: {name}, {least:.2f} s (reading 3 and writing 1, with Recycle's blocks and threads).")


def sweep(folder: Path, sizes: list[int], runs: int) -> None:
    """How the time grows with the checkpoint."""
    head = machine.describe(folder)
    lines = []
    for parameters in sizes:
        llama = Llama.of(parameters)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            session = Session(Path(place), llama, checkpoints=4)
            some = [*rows.limits(), rows.digests()]
            session.rehearse(some)
            _take_turns(session.warm, some, runs)
        least, mine = limit(session.runs)[1], session.runs[rows.DIGESTS]
        peak = max(run.peak for run in mine) / GB
        times = [f"{least:.2f}", f"{seconds(mine):.2f}", f"{seconds(mine) / least:.2f}", f"{peak:.2f}"]
        lines.append([f"{size(llama.tensors) / 1e9:.2f} B", *times])
    print(f"{head}\n")
    print(markdown(("parameters × 3", "limit s", f"{rows.DIGESTS} s", "× limit", "peak GB"), lines))


def sparse(folder: Path, parameters: int) -> None:
    """Peak memory over files of holes of any size; the result is written in full."""
    lines = []
    for count in (100_000_000, parameters):
        llama = Llama.of(count)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            session = Session(Path(place), llama, checkpoints=1, sparse=True)
            row = rows.without_manifests()
            session.rehearse([row])
            session.measure(row)
        (run,) = session.runs[row.name]
        billions = f"{size(llama.tensors) / 1e9:.2f} B"
        lines.append([billions, *(f"{value:.2f}" for value in (run.peak / GB, run.own / GB, run.seconds))])
    print(f"{machine.describe(folder)}\n{rows.WITHOUT_MANIFESTS}; input files of holes\n")
    print(markdown(("parameters × 3", "peak GB", "own GB", "s"), lines))


def profile(folder: Path, parameters: int) -> None:
    """Seconds by stage of one run."""
    llama = Llama.of(parameters)
    session = Session(folder, llama, checkpoints=4)
    report = folder / "stages.json"
    row = rows.stages(report)
    session.rehearse([row])
    head = _head(folder, llama)
    session.warm(row)
    measured = json.loads(report.read_text())
    lines = [[name, f"{wall:.2f}", f"{on_core:.2f}"] for name, (wall, on_core) in measured["stages"].items()]
    print(f"{head}\n{rows.DIGESTS}: {measured['seconds']:.2f} s\n")
    print(markdown(("stage, summed over threads", "s", "s on a core"), lines))


main()
