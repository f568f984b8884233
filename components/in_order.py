"""Threads that work side by side and do one thing in the order of their numbers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Line:
    """What several `Turns` share: the error that ends the waiting in all of them."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.error: BaseException | None = None

    def stop(self, error: BaseException) -> None:
        """Wake everyone who waits, to raise the first error given here."""
        with self.condition:
            self.error = self.error or error
            self.condition.notify_all()


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
