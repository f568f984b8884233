"""Threads that work side by side, do one thing in the order of their numbers, and end together."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

_this_thread = threading.local()
"""Its `cancellation` is the one that the running thread has joined, where it has joined one."""


class Cancellation:
    """The error that ends the waiting of all threads which share this object, once one of them fails."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.error: BaseException | None = None

    def stop(self, error: BaseException) -> None:
        """Wake everyone who waits, to raise the first error given here."""
        with self.condition:
            self.error = self.error or error
            self.condition.notify_all()

    def join(self) -> None:
        """Have every `interruptible_sleep` of the running thread end when the work is stopped."""
        _this_thread.cancellation = self


def interruptible_sleep(seconds: float) -> None:
    """Sleep, but no longer than the work of this thread goes on.

    Raises:
        BaseException: the error that stopped the `Cancellation` which this thread joined.
    """
    cancellation: Cancellation | None = getattr(_this_thread, "cancellation", None)
    if cancellation is None:
        time.sleep(seconds)
        return
    with cancellation.condition:
        if cancellation.condition.wait_for(lambda: cancellation.error is not None, seconds) and cancellation.error:
            raise cancellation.error


@contextmanager
def thread_pool(most: int, name: str, cancellation: Cancellation | None = None) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads stop waiting, and whose queued work is dropped, when the body of the `with` fails.

    Args:
        most: threads at most.
        name: begins the threads' names.
        cancellation: what the threads join; a new one where none is given.
    """
    cancellation = cancellation or Cancellation()
    with ThreadPoolExecutor(most, thread_name_prefix=name, initializer=cancellation.join) as pool:
        try:
            yield pool
        except BaseException as error:
            cancellation.stop(error)
            pool.shutdown(cancel_futures=True)
            raise


class Sequencer:
    """Lets threads in one after the other, in the order of their numbers, from zero."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self._next = 0

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait until every smaller number has had its turn.

        Raises:
            BaseException: the error that stopped the work.
        """
        with self._cancellation.condition:
            self._cancellation.condition.wait_for(lambda: self._next == number or self._cancellation.error is not None)
            if self._cancellation.error is not None:
                raise self._cancellation.error
        yield
        with self._cancellation.condition:
            self._next += 1
            self._cancellation.condition.notify_all()
