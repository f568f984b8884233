"""A folder to run programs in, over warm or cold inputs, and what their results came to."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import machine
from compare import differing
from generate import BF16_BYTES, ROLES, Llama, generate, input_files, size
from measure import Measured, run
from rows import Row

TINY = 1_000_000
HEADROOM = 1.2
"""What a program with all three models in memory needs beside them."""


class Session:
    """Inputs of one size, and the runs over them."""

    def __init__(self, folder: Path, llama: Llama, *, checkpoints: int, sparse: bool = False) -> None:
        """Generate the inputs where there is room for `checkpoints` of them, or of holes and one result."""
        machine.need_space(folder, checkpoints * size(llama.tensors) * BF16_BYTES)
        self._output = folder / "out"
        self._expected = folder / "expected"
        self._tiny = generate(folder / "tiny", Llama.of(TINY))
        self.inputs = generate(folder / "inputs", llama, sparse=sparse)
        self.runs: dict[str, list[Measured]] = {}
        self.starts: dict[str, float] = {}
        """Seconds over tiny checkpoints, by row."""
        self.shares: dict[str, float] = {}
        """Of elements that differ from the reference's, by row."""

    @property
    def files(self) -> list[Path]:
        return input_files(self.inputs)

    @property
    def checkpoint_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files) // len(ROLES)

    def fits_in_memory(self, checkpoints: int) -> bool:
        return HEADROOM * checkpoints * self.checkpoint_bytes < machine.memory("MemAvailable")

    def rehearse(self, rows: Sequence[Row]) -> None:
        """Run over tiny checkpoints twice: programs are then compiled and in the page cache, and their start timed."""
        for row in [*rows, *rows]:
            self.starts[row.name] = self._rehearse(row)

    def warm(self, row: Row) -> None:
        """A run whose inputs are in the page cache, as far as that holds them."""
        machine.warm(self.files)
        self.measure(row)

    def cold(self, row: Row) -> None:
        """A run whose inputs are on the disk alone; the program itself is in the page cache."""
        machine.chill(self.files)
        self._rehearse(row)
        self.measure(row)

    def measure(self, row: Row) -> None:
        """A run over the inputs as they lie."""
        measured = self._run(row, self.inputs)
        self.runs.setdefault(row.name, []).append(measured)
        print(f"  {row.name}: {measured.seconds:.2f} s", file=sys.stderr)
        if row.expected and not self._expected.exists():
            self._output.rename(self._expected)
            return
        if row.compared and row.name not in self.shares and self._expected.exists():
            self.shares[row.name] = differing(self._expected, self._output)
        shutil.rmtree(self._output)

    def _rehearse(self, row: Row) -> float:
        seconds = self._run(row, self._tiny).seconds
        shutil.rmtree(self._output)
        return seconds

    def _run(self, row: Row, inputs: Path) -> Measured:
        return run(row.command(inputs, self._output), self._output, row.environment)
