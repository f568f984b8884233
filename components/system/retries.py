"""Asking again where a service does not answer: for how long, how often, and what is said meanwhile."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from components.system.threads import interruptible_sleep

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """The times and the number of tries after which a request that fails is given up.

    The wait doubles from try to try. Jitter of up to a half takes the tries of many threads and steps apart.
    """

    first_wait_s: float
    longest_wait_s: float
    patience_s: float = inf
    """Seconds since the first failure after which no other try is made."""
    min_tries: int = 1
    """Tries that are made however long each of them takes to fail."""
    max_tries: float = inf

    def wait_s(self, failures: int, failing_s: float) -> float:
        """Seconds to wait after so many failures; the last try is made at the end of the patience."""
        longest_s = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(failures - 1, 20))
        left_s = max(self.patience_s - failing_s, self.first_wait_s)
        return min(longest_s * random.uniform(0.5, 1.0), left_s)  # noqa: S311

    def is_over(self, failures: int, failing_s: float) -> bool:
        """Whether no other try is to be made."""
        return failures >= self.max_tries or (failures >= self.min_tries and failing_s >= self.patience_s)


def retry(
    request: Callable[[], Result],
    policy: RetryPolicy,
    errors: tuple[type[Exception], ...],
    *,
    tell: Callable[[Exception, float], None],
    may_pass: Callable[[Exception], bool] = lambda _: True,
    explain: Callable[[Exception, float], Exception] = lambda error, _: error,
    asked_wait_s: Callable[[Exception], float] = lambda _: 0.0,
) -> Result:
    """Return what `request` returns, tried again where that may help.

    Args:
        request: asks once.
        policy: how long to go on.
        errors: those that a request can end with; any other ends the tries as it is.
        tell: called before each wait with the error, and the seconds from the first failure to the next try.
        may_pass: whether another try can end better than with this error.
        explain: gives the exception to raise in the end, from the last error and the seconds since the first.
        asked_wait_s: seconds that the service itself asks to wait besides; more than the policy's longest wait ends
            the tries.

    Raises:
        Exception: what `explain` gives for the last error.
    """
    failures, failing_since = 0, 0.0
    while True:
        try:
            return request()
        except errors as caught:
            error: Exception = caught
        failures += 1
        failing_since = failing_since or time.monotonic()
        failing_s = time.monotonic() - failing_since
        asked_s = asked_wait_s(error)
        if not may_pass(error) or policy.is_over(failures, failing_s) or asked_s > policy.longest_wait_s:
            raise explain(error, failing_s) from None
        wait_s = policy.wait_s(failures, failing_s) + asked_s
        tell(error, failing_s + wait_s)
        interruptible_sleep(wait_s)
