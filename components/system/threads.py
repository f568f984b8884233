"""Threads that work side by side, do one thing in the order of their numbers, and end together."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

_here = threading.local()


class Line:
    """What threads, and several `Turns`, share: the error that ends the waiting in all of them."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.error: BaseException | None = None

    def stop(self, error: BaseException) -> None:
        """Wake everyone who waits, to raise the first error given here."""
        with self.condition:
            self.error = self.error or error
            self.condition.notify_all()

    def join(self) -> None:
        """Have every `wait` of this thread end when the line is stopped."""
        _here.line = self


def wait(seconds: float) -> None:
    """Do nothing for a while.

    Raises:
        BaseException: the one that stopped the line this thread joined.
    """
    line: Line | None = getattr(_here, "line", None)
    if line is None:
        time.sleep(seconds)
        return
    with line.condition:
        if line.condition.wait_for(lambda: line.error is not None, seconds) and line.error is not None:
            raise line.error


@contextmanager
def thread_pool(most: int, name: str, line: Line | None = None) -> Iterator[ThreadPoolExecutor]:
    """Threads that are left with whatever error ends the body, and then wait for nothing any more."""
    line = line or Line()
    with ThreadPoolExecutor(most, thread_name_prefix=name, initializer=line.join) as pool:
        try:
            yield pool
        except BaseException as error:
            line.stop(error)
            pool.shutdown(cancel_futures=True)
            raise


class Turns:
    """Numbers that are let in one after the other, from zero."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._next = 0

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait until every smaller number has had its turn.

        Raises:
            BaseException: the one that stopped the line.
        """
        with self._line.condition:
            self._line.condition.wait_for(lambda: self._next == number or self._line.error is not None)
            if self._line.error is not None:
                raise self._line.error
        yield
        with self._line.condition:
            self._next += 1
            self._line.condition.notify_all()
