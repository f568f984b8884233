"""Progress of long work: a bar on a terminal, a plain line every few seconds in a log."""

import logging
import sys
import threading
import time
from types import TracebackType

LOG_EVERY_SECONDS = 5.0
DRAW_EVERY_SECONDS = 0.1
BAR_WIDTH = 30

logger = logging.getLogger(__name__)


class Progress:
    """Counts bytes towards a total and shows them; used as a context manager."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._shown = self._started
        self._lock = threading.Lock()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._draw()
            sys.stderr.write("\n")

    def advance(self, done: int) -> None:
        """Count `done` more bytes; threads may do this side by side."""
        with self._lock:
            self._done += done
            now = time.monotonic()
            if self._terminal and now - self._shown >= DRAW_EVERY_SECONDS:
                self._shown = now
                self._draw()
            elif not self._terminal and now - self._shown >= LOG_EVERY_SECONDS:
                self._shown = now
                logger.info("%s: %s", self._label, self._text())

    def _text(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-6)
        rate = self._done / seconds
        left = f", {(self._total - self._done) / rate:.0f} s left" if rate and self._done < self._total else ""
        share = self._done / self._total if self._total else 1.0
        return f"{share:4.0%} of {human_bytes(self._total)}, {human_bytes(rate)}/s{left}"

    def _draw(self) -> None:
        filled = round(BAR_WIDTH * (self._done / self._total if self._total else 1.0))
        bar = "█" * filled + "·" * (BAR_WIDTH - filled)
        sys.stderr.write(f"\r\x1b[K{self._label} {bar} {self._text()}")
        sys.stderr.flush()


def human_bytes(count: float) -> str:
    """A byte count with a decimal unit: `14.6 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
