"""The blocks of a file, read side by side and handed on in their order."""

from collections.abc import Callable, Sequence

from components import settings
from components.checkpoints.source import Source
from components.errors import BadParameter
from components.system import Cancellation, Sequencer, human_bytes, thread_pool

BLOCK = 16 << 20
THREADS = 8

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
    """Do `work` for several starts of blocks at once, and `digest` what it gives in order."""
    cancellation = Cancellation()
    sequencer = Sequencer(cancellation)

    def one(number: int, start: int) -> None:
        try:
            data = work(start)
            with sequencer.turn(number):
                digest(data)
                advance(len(data))
        except BaseException as error:
            cancellation.stop(error)
            raise

    if len(starts) <= 1:  # of a small file, in a thread that may be in a cancellation already
        for start in starts:
            one(0, start)
        return
    with thread_pool(most_threads(block), "blocks", cancellation) as pool:
        for future in [pool.submit(one, number, start) for number, start in enumerate(starts)]:
            future.result()


def most_threads(block: int) -> int:
    """As many as the memory allows: each holds a block, and the part that is made of it.

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
