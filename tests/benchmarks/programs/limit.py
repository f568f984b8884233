"""Read three checkpoints and write the size of one, with no arithmetic: what no transfer can beat.

python limit.py {cached,direct} BLOCK_BYTES THREADS BASE TUNED TARGET OUTPUT
"""

import mmap
import os
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PAGE = 4096


class Shard:
    """A file of the output, and the three that are read for it."""

    def __init__(self, inputs: list[Path], output: Path, direct: bool) -> None:
        self.inputs = [os.open(path, os.O_RDONLY) for path in inputs]
        self.size = inputs[-1].stat().st_size
        self.cached = os.open(output, os.O_CREAT | os.O_WRONLY)
        self.direct = None
        if direct:
            os.posix_fallocate(self.cached, 0, self.size)
            self.direct = os.open(output, os.O_WRONLY | os.O_DIRECT)

    def copy(self, start: int, buffers: list[mmap.mmap]) -> None:
        length = min(len(buffers[0]), self.size - start)
        for descriptor, buffer in zip(self.inputs, buffers, strict=True):
            if os.preadv(descriptor, [memoryview(buffer)[:length]], start) != length:
                raise OSError("a read was cut short")
        data = memoryview(buffers[-1])
        whole = length // PAGE * PAGE if self.direct is not None else 0
        if whole:
            write(self.direct, data[:whole], start)
        write(self.cached, data[whole:length], start + whole)


def write(descriptor: int, data: memoryview, start: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, start)
        data, start = data[written:], start + written


def main() -> None:
    mode, block, threads, *folders = sys.argv[1:]
    *inputs, output = map(Path, folders)
    output.mkdir()
    names = sorted(path.name for path in inputs[-1].glob("*.safetensors"))
    shards = [Shard([folder / name for folder in inputs], output / name, mode == "direct") for name in names]
    jobs = [(shard, start) for shard in shards for start in range(0, shard.size, int(block))]
    missing = Counter(shard for shard, _ in jobs)
    lock, own = threading.Lock(), threading.local()

    def work(job: tuple[Shard, int]) -> None:
        if not hasattr(own, "buffers"):
            own.buffers = [mmap.mmap(-1, int(block)) for _ in inputs]
        shard, start = job
        shard.copy(start, own.buffers)
        with lock:
            missing[shard] -= 1
            last = not missing[shard]
        if last:
            os.fsync(shard.cached)  # while the others go on with the next

    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(work, jobs))


main()
