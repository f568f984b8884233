"""The engine alone: no command line, no digests, with statistics or without.

python stream.py {bare,statistics} MEMORY_BYTES BASE TUNED TARGET OUTPUT
"""

import sys
from pathlib import Path

from components.checkpoints.layout import read_layout
from components.sources.folder import FolderSource
from components.store.folder.writer import FolderCheckpointWriter
from components.transfer.plan import plan_transfer
from components.transfer.scale import parse_scale
from components.transfer.stream import Stream


def main() -> None:
    mode, memory, *folders = sys.argv[1:]
    *inputs, output = map(Path, folders)
    base, tuned, target = (read_layout(FolderSource(path=folder)) for folder in inputs)
    plan = plan_transfer(
        source_base=base, source_tuned=tuned, target_base=target, scale=parse_scale("1.0"), dtype="auto"
    )
    output.mkdir()
    with Stream(
        plan,
        FolderCheckpointWriter(output),
        digested=(),
        memory=int(memory),
        progress=lambda done: None,
        measured=mode == "statistics",
        hashed=False,
    ) as stream:
        for shard in plan.shards:
            stream.write_shard(shard)


main()
