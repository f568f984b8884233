"""A copy of a checkpoint on this machine that all who want it at once share; the last one to leave removes it.

A copy that is broken off stays, and whoever wants it next goes on with it, or `recycle store gc` removes it.
"""

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from components.checkpoints import MANIFEST, Checkpoint, Source
from components.errors import OutputConflict, StorageFull
from components.store.copying import copy_files
from components.store.folder.writer import FolderCheckpointWriter
from components.system import (
    discard,
    disk_errors,
    exclusive_lock,
    free_bytes,
    human_bytes,
    interruptible_sleep,
    shared_lock,
    write_durably,
)

LOOK_AGAIN_S = 0.05
MOST_LOOKS = 100
LOOKS_BEFORE_TOLD = 10

logger = logging.getLogger(__name__)


@contextmanager
def scratch_copy(checkpoint: Checkpoint, source: Source, folder: Path) -> Iterator[None]:
    """Have a checkpoint's files in `folder` for as long as the context lasts; nobody may write there.

    Args:
        checkpoint: The manifest that names the files and their digests.
        source: Where the first who wants them reads them.
        folder: for this checkpoint only.

    Raises:
        StorageFull: there is not enough room.
        OutputConflict: others use a copy that is damaged.
        DigestMismatch: bytes are not what the checkpoint says.
    """
    with disk_errors(folder.parent):
        use = _joined(checkpoint, source, folder)
    try:
        yield
    finally:
        use.close()
        # A claim is refused while somebody else uses it.
        with suppress(OutputConflict), disk_errors(folder.parent), exclusive_lock(folder, wait=False):
            discard(folder)


def _joined(checkpoint: Checkpoint, source: Source, folder: Path) -> ExitStack:
    """Share the copy, which is made or verified first where nobody uses it; whoever comes meanwhile waits for it."""
    for look in range(MOST_LOOKS):
        with ExitStack() as use:
            use.enter_context(shared_lock(folder, lambda: _make(checkpoint, source, folder)))
            if _is_whole(folder, checkpoint):
                return use.pop_all()
        # Whoever made it was killed meanwhile, or the last one left; others who look too are gone in a moment.
        if look == LOOKS_BEFORE_TOLD:
            logger.warning("waiting for the copy of %s at %s, which is in use and not whole", checkpoint.name, folder)
        interruptible_sleep(random.uniform(0.0, LOOK_AGAIN_S))  # noqa: S311
    raise OutputConflict(
        f"the copy of {checkpoint.name} at {folder} is in use, and its files are not those of the checkpoint any more",
        hint="wait until the programs that use it end, or stop them: they may have written there; then run the same "
        "command again",
    )


def _is_whole(folder: Path, checkpoint: Checkpoint) -> bool:
    if not (folder / MANIFEST).is_file():
        return False
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    return all(files.get(file.path) == file.size for file in checkpoint.files)


def _make(checkpoint: Checkpoint, source: Source, folder: Path) -> None:
    """Get the files that are not there; what is there is read, since a process that was killed may have left it."""
    # A file may be longer than what was reserved of it.
    there = sum(min(stat.st_size, stat.st_blocks * 512) for stat in (path.stat() for path in folder.glob("*")))
    needed, free = sum(file.size for file in checkpoint.files) - there, free_bytes(folder)
    if needed > free:
        raise StorageFull(
            f"a local copy of {checkpoint.name} needs {human_bytes(needed)} at {folder}, where {human_bytes(free)} are "
            "free",
            hint="free some space, or set RECYCLE_HOME to a larger disk",
        )
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    writer = FolderCheckpointWriter(folder)
    copy_files(source, checkpoint.source_files, writer)
    write_durably(folder / MANIFEST, checkpoint.to_json())
    writer.tidy()
