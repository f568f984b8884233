"""Every byte where it belongs, whichever way it is written, and errors that are told."""

import errno
import fcntl
import itertools
import mmap
import os
import threading
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.system import direct_io as shard_file
from components.system.direct_io import PAGE, ShardFile

SIZE = 6 * PAGE + 1234
DATA = os.urandom(SIZE)


def aligned(begin, end):
    """A part of DATA at an address that suits its offset."""
    return memoryview(_at(begin % PAGE, DATA[begin:end]))[begin % PAGE :]


def at_an_odd_address(begin, end):
    return memoryview(_at(1, DATA[begin:end]))[1:]


def _at(shift, data):
    pages = mmap.mmap(-1, shift + len(data) + 1)
    pages[shift : shift + len(data)] = data
    return memoryview(pages)[: shift + len(data)]


def written(path, bounds, part=aligned):
    with closing(ShardFile(path, SIZE)) as file:
        for begin, end in bounds:
            file.write(begin, part(begin, end))
        file.finish()
    return path.read_bytes()


CUTS = st.lists(
    st.one_of(st.integers(0, SIZE), st.integers(0, 6).map(lambda page: page * PAGE)), max_size=6, unique=True
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CUTS, st.randoms(use_true_random=False), st.sampled_from([aligned, at_an_odd_address]))
def test_any_parts_in_any_order(tmp_path, cuts, random, part):
    bounds = sorted({0, SIZE, *cuts})
    parts = list(itertools.pairwise(bounds))
    random.shuffle(parts)
    assert written(tmp_path / "x", parts, part) == DATA


def test_side_by_side(tmp_path):
    bounds = [*range(0, SIZE, 777), SIZE]
    with closing(ShardFile(tmp_path / "x", SIZE)) as file:
        threads = [
            threading.Thread(target=lambda b=begin, e=end: file.write(b, aligned(b, e)))
            for begin, end in itertools.pairwise(bounds)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        file.finish()
    assert (tmp_path / "x").read_bytes() == DATA


def test_an_earlier_file_is_replaced(tmp_path):
    (tmp_path / "x").write_bytes(b"old" * SIZE)
    assert written(tmp_path / "x", [(0, SIZE)]) == DATA


def test_an_empty_file(tmp_path):
    with closing(ShardFile(tmp_path / "x", 0)) as file:
        file.write(0, memoryview(b""))
        file.finish()
    assert (tmp_path / "x").read_bytes() == b""


def test_descriptors_are_given_back(tmp_path, monkeypatch):
    def held():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = held()
    written(tmp_path / "x", [(0, SIZE)])
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        ShardFile(tmp_path / "x", SIZE)
    assert held() == before


def failing(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_that_cannot_reserve(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "posix_fallocate", failing(number))
    assert written(tmp_path / "x", [(0, SIZE)]) == DATA


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_reservation_that_fails_is_told(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "posix_fallocate", failing(number))
    with pytest.raises(OSError, match=r".") as caught:
        ShardFile(tmp_path / "x", SIZE)
    assert caught.value.errno == number


def test_a_file_system_without_direct_writes(tmp_path, monkeypatch):
    real = os.open

    def opened(path, flags, *more):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", opened)
    assert written(tmp_path / "x", [(0, 1000), (1000, SIZE)]) == DATA


def test_a_system_without_direct_writes(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECT")
    assert written(tmp_path / "x", [(0, SIZE)]) == DATA


class Pwrite:
    """os.pwrite, but for what a test makes of some calls; tells writes past the page cache from others."""

    def __init__(self, monkeypatch, special):
        self.special = special
        self.real = os.pwrite
        self.calls = []
        monkeypatch.setattr(shard_file.os, "pwrite", self)

    def __call__(self, descriptor, data, offset):
        direct = bool(_flags(descriptor) & os.O_DIRECT)
        self.calls.append((direct, offset, len(data)))
        return self.special(self.real, descriptor, data, offset, direct)


def _flags(descriptor):
    return fcntl.fcntl(descriptor, fcntl.F_GETFL)


def test_whole_pages_go_past_the_page_cache_and_the_rest_does_not(tmp_path, monkeypatch):
    pwrite = Pwrite(monkeypatch, lambda real, fd, data, offset, direct: real(fd, data, offset))
    with closing(ShardFile(tmp_path / "x", SIZE)) as file:
        if file._direct is None:
            pytest.skip("no direct writes on this file system")
        file.write(100, aligned(100, 3 * PAGE + 50))
    assert sorted(pwrite.calls) == [(False, 100, PAGE - 100), (False, 3 * PAGE, 50), (True, PAGE, 2 * PAGE)]


def test_direct_writes_that_are_refused_are_made_the_other_way(tmp_path, monkeypatch):
    def special(real, descriptor, data, offset, direct):
        if direct:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, data, offset)

    pwrite = Pwrite(monkeypatch, special)
    assert written(tmp_path / "x", [(0, 5000), (5000, SIZE)]) == DATA
    assert any(not direct and length > PAGE for direct, _, length in pwrite.calls)


def test_a_direct_write_refused_after_a_part_of_it(tmp_path, monkeypatch):
    """What is left has no whole pages any more."""

    def special(real, descriptor, data, offset, direct):
        if direct and offset % PAGE:
            raise OSError(errno.EINVAL, "Invalid argument")
        if direct:
            cached = os.open(tmp_path / "x", os.O_WRONLY)
            try:
                return real(cached, data[:1000], offset)
            finally:
                os.close(cached)
        return real(descriptor, data, offset)

    Pwrite(monkeypatch, special)
    assert written(tmp_path / "x", [(0, SIZE)]) == DATA


@pytest.mark.parametrize("most", [1000, PAGE, PAGE + 1])
def test_short_writes_are_gone_on_with(tmp_path, monkeypatch, most):
    def special(real, descriptor, data, offset, direct):
        return real(descriptor, data[: max(PAGE, most // PAGE * PAGE) if direct else most], offset)

    Pwrite(monkeypatch, special)
    assert written(tmp_path / "x", [(0, 300), (300, SIZE)]) == DATA


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("which", [True, False], ids=["direct", "cached"])
def test_a_write_that_fails_is_told(tmp_path, monkeypatch, number, which):
    def special(real, descriptor, data, offset, direct):
        if direct == which:
            raise OSError(number, os.strerror(number))
        return real(descriptor, data, offset)

    Pwrite(monkeypatch, special)
    with closing(ShardFile(tmp_path / "x", SIZE)) as file:
        if file._direct is None:
            pytest.skip("no direct writes on this file system")
        with pytest.raises(OSError, match=r".") as caught:
            file.write(100, aligned(100, SIZE))
    assert caught.value.errno == number
