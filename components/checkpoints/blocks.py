"""The blocks of a file, read side by side and handed on in their order."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from components import settings
from components.checkpoints.source import Source
from components.errors import BadParameter
from components.system import Cancellation, human_bytes, thread_pool

BLOCK = 16 << 20
"""Bytes that are read at once."""
THREADS = 8
"""Most blocks at once."""

Advance = Callable[[int], None]


def read_block(source: Source, path: str, start: int, length: int) -> memoryview:
    """Read `length` bytes of a file from `start`."""
    data = memoryview(bytearray(length))
    source.read_into(path, start, data)
    return data


def in_blocks(
    starts: Sequence[int],
    work: Callable[[int], memoryview],
    digest: Callable[[memoryview], None],
    advance: Advance,
    block: int,
) -> None:
    """Do `work` for several blocks at once, and hand what it gives to `digest` in their order.

    Args:
        starts: Offsets of the blocks.
        work: Gives the bytes of the block at an offset.
        digest: Gets each block once, in order.
        advance: Is told the bytes of each block.
        block: Bytes of a block, of which no more are held at once than the memory allows.
    """

    def hand_on(data: memoryview) -> None:
        digest(data)
        advance(len(data))

    if len(starts) <= 1:  # of a small file, in a thread that may be one of a pool already
        for start in starts:
            hand_on(work(start))
        return
    cancellation, threads, ahead = Cancellation(), most_threads(block), iter(starts)

    def attempt(start: int) -> memoryview:
        try:
            return work(start)
        except BaseException as error:
            cancellation.stop(error)  # an earlier block may wait for a server, and need not any more
            raise

    with thread_pool(threads, "blocks", cancellation) as pool:
        window = deque(pool.submit(attempt, start) for start in islice(ahead, threads))
        while window:
            hand_on(window.popleft().result())  # under no name: the next one begins when this one's memory is free
            window.extend(pool.submit(attempt, start) for start in islice(ahead, 1))


def most_threads(block: int) -> int:
    """How many threads the memory allows: each holds a block, and the part that is made of it.

    Raises:
        BadParameter: it is too little for one.
    """
    if settings.memory() < 2 * block:
        raise BadParameter(
            f"RECYCLE_MEMORY is {human_bytes(settings.memory())}, and copying in blocks of {human_bytes(block)} takes "
            "two of them",
            hint="set it to 512MB or so",
        )
    return min(THREADS, settings.memory() // (2 * block))
