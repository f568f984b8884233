"""The engine alone: no command line, no digests, with statistics or without.

python stream.py {bare,statistics} MEMORY_BYTES BASE TUNED TARGET OUTPUT
"""

import sys
from pathlib import Path

from numba import njit

from components.checkpoints.layout import read_layout
from components.sources.folder import FolderSource
from components.store.folder.writer import FolderCheckpointWriter
from components.transfer import pieces
from components.transfer.kernel import _BF16, UNIT, _load, _narrow
from components.transfer.plan import plan_transfer
from components.transfer.scale import parse_scale
from components.transfer.stream import ShardWriter, Stream


@njit(nogil=True, cache=True)
def bare_kernel(source, tuned, target, scale, result, sums, counts):
    """The arithmetic of bfloat16 alone, and the count of unchanged elements that the engine needs."""
    for unit in range(len(counts)):
        unchanged = 0
        for index in range(unit * UNIT, min(len(result), (unit + 1) * UNIT)):
            s, f = _load(source[index], _BF16, _BF16), _load(tuned[index], _BF16, _BF16)
            result[index] = _narrow(_load(target[index], _BF16, _BF16) + scale * (f - s), _BF16)
            unchanged += f == s
        counts[unit, 0] = unchanged


def main() -> None:
    mode, memory, *folders = sys.argv[1:]
    *inputs, output = map(Path, folders)
    base, tuned, target = (read_layout(FolderSource(path=folder)) for folder in inputs)
    plan = plan_transfer(
        source_base=base, source_tuned=tuned, target_base=target, scale=parse_scale("1.0"), dtype="auto"
    )
    output.mkdir()
    ShardWriter._hash = lambda self, result: None
    if mode == "bare":
        pieces.transfer_kernel = lambda *dtypes: bare_kernel
    with Stream(
        plan,
        FolderCheckpointWriter(output),
        digested=(),
        memory=int(memory),
        progress=lambda done: None,
    ) as stream:
        for shard in plan.shards:
            stream.write_shard(shard)


main()
