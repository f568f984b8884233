import pytest

from components.system import retries
from components.system.retries import RetryPolicy, retry

POLICY = RetryPolicy(first_wait_s=1.0, longest_wait_s=5.0, patience_s=60.0, min_tries=3)


class Clock:
    """Time that passes only where it is waited."""

    def __init__(self):
        self.now, self.waits = 1000.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    monkeypatch.setattr(retries, "interruptible_sleep", clock.sleep)
    return clock


class Service:
    """Fails so many times, each after some seconds, and then answers."""

    def __init__(self, clock, failures, takes_s=0.0):
        self.clock, self.failures, self.takes_s, self.asked = clock, failures, takes_s, 0

    def __call__(self):
        self.asked += 1
        self.clock.now += self.takes_s
        if self.asked <= self.failures:
            raise OSError(f"failure {self.asked}")
        return "answer"


def test_it_waits_longer_each_time_and_tells_of_it(clock):
    told = []
    answer = retry(Service(clock, 5), POLICY, (OSError,), tell=lambda error, s: told.append((str(error), s)))
    assert answer == "answer"
    for wait, longest in zip(clock.waits, (1, 2, 4, 5, 5), strict=True):
        assert longest / 2 <= wait <= longest
    assert told[0] == ("failure 1", clock.waits[0])
    assert told[-1][1] == pytest.approx(sum(clock.waits))


def test_the_last_try_is_at_the_end_of_the_patience(clock):
    service = Service(clock, 10**9)
    with pytest.raises(RuntimeError, match=r"^after 6\d: failure"):
        retry(
            service,
            POLICY,
            (OSError,),
            tell=lambda error, s: None,
            explain=lambda error, s: RuntimeError(f"after {s:.0f}: {error}"),
        )
    assert sum(clock.waits) == pytest.approx(60, abs=1.5)


def test_there_are_some_tries_however_long_each_takes(clock):
    service = Service(clock, 10**9, takes_s=100.0)
    with pytest.raises(OSError, match="failure 3"):
        retry(service, POLICY, (OSError,), tell=lambda error, s: None)


def test_there_are_no_more_tries_than_allowed(clock):
    service = Service(clock, 10**9)
    policy = RetryPolicy(first_wait_s=1, longest_wait_s=9, max_tries=4)
    with pytest.raises(OSError, match="failure 4"):
        retry(service, policy, (OSError,), tell=lambda error, s: None)


def test_what_cannot_pass_is_not_tried_again(clock):
    service = Service(clock, 1)
    with pytest.raises(OSError, match="failure 1"):
        retry(service, POLICY, (OSError,), tell=lambda error, s: None, may_pass=lambda error: False)
    assert clock.waits == []


def test_another_error_goes_through(clock):
    with pytest.raises(OSError, match="failure 1"):
        retry(Service(clock, 1), POLICY, (ValueError,), tell=lambda error, s: None)


@pytest.mark.parametrize(("asked_s", "tries"), [(3.0, 2), (6.0, 1)])
def test_a_service_may_ask_for_a_longer_wait_within_limits(clock, asked_s, tries):
    service = Service(clock, 1)
    try:
        retry(service, POLICY, (OSError,), tell=lambda error, s: None, asked_wait_s=lambda error: asked_s)
    except OSError:
        assert tries == 1
    else:
        assert clock.waits[0] >= asked_s
    assert service.asked == tries
