"""Fine-tuning transfer from three checkpoints to a fourth, in the store or in a folder of the user's."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.checkpoint import MANIFEST, Checkpoint, Derivation, File, derive, describe
from components.compatibility import TransferPlan, plan_transfer, refuse_same
from components.errors import OutputConflict, StorageFull
from components.folder import FolderSource
from components.layout import read_layout
from components.progress import Progress, human_bytes
from components.reference import local_folder
from components.scale import parse_scale
from components.statistics import Statistics
from components.store import FolderStore
from components.transfer.carry import files_beside
from components.transfer.stream import Inputs, ShardRecord, write_shard
from components.work import claimed, disk_errors, publish, write_durably

METHOD = "fine-tuning transfer"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Three checkpoints and how to combine them."""

    source_base: Checkpoint
    source_tuned: Checkpoint
    target_base: Checkpoint
    scale: str
    dtype: str

    @property
    def derivation(self) -> Derivation:
        """What the result's bytes follow from."""
        parents = {
            "source base": self.source_base,
            "source fine-tuned": self.source_tuned,
            "target base": self.target_base,
        }
        return derive(METHOD, parents, {"scale": repr(parse_scale(self.scale)), "dtype": self.dtype})

    @property
    def inputs(self) -> Inputs:
        """Where the three lie."""
        return Inputs(
            source_base=local_folder(self.source_base),
            source_tuned=local_folder(self.source_tuned),
            target_base=local_folder(self.target_base),
        )

    @property
    def name(self) -> str:
        """What the result is called."""
        return f"{self.target_base.name}-recycled"

    def plan(self) -> TransferPlan:
        """Prove that it can be done.

        Raises:
            Incompatible: it cannot.
        """
        refuse_same(self.source_base.digest, self.source_tuned.digest, self.target_base.digest)
        inputs = self.inputs
        return plan_transfer(
            source_base=read_layout(FolderSource(path=inputs.source_base)),
            source_tuned=read_layout(FolderSource(path=inputs.source_tuned)),
            target_base=read_layout(FolderSource(path=inputs.target_base)),
            dtype=self.dtype,
        )


def transfer_in_store(transfer: Transfer, store: FolderStore) -> tuple[Checkpoint, Statistics]:
    """Apply a transfer from store to store; one that was done before is not done again.

    Raises:
        RecycleError: the checkpoints do not fit, or a file cannot be read or written.
    """
    key = transfer.derivation.key

    def recall() -> tuple[Checkpoint, Statistics] | None:
        checkpoint, statistics = store.recall_checkpoint("transfer", key), store.recall("transfer-statistics", key)
        if checkpoint is None or statistics is None:
            return None
        return checkpoint, Statistics.model_validate_json(statistics)

    def make(folder: Path) -> tuple[Checkpoint, Statistics]:
        checkpoint, statistics = _write(transfer, transfer.plan(), folder)
        store.remember("transfer-statistics", key, statistics.model_dump_json())
        # Remembered first: what is remembered counts only when it is there too, and so is never made twice.
        store.remember("transfer", key, checkpoint.digest)
        _remove_working_files(folder)
        return store.publish(folder, checkpoint), statistics

    return store.once(f"transfer-{key}", recall, make)


def transfer_to_folder(transfer: Transfer, output: Path) -> tuple[Checkpoint, Statistics | None]:
    """Apply a transfer into a new folder; a folder that holds this very result already is left as it is.

    Returns:
        The result and its statistics, or None for these where nothing had to be done.

    Raises:
        OutputConflict: `output` holds something else, or another process is writing it.
        RecycleError: the checkpoints do not fit, or a file cannot be read or written.
    """
    output = output.resolve()
    if os.path.ismount(output):
        raise OutputConflict(
            f"{output} is a mount point, which cannot appear all at once", do="give a folder inside it"
        )
    with disk_errors(output), claimed(output, wait=False):
        done = _already_there(transfer, output)
        if done is not None:
            return done, None
        plan = transfer.plan()
        staging = output.with_name(f".{output.name}.{transfer.derivation.key[:16]}.partial")
        staging.mkdir(exist_ok=True)
        checkpoint, statistics = _write(transfer, plan, staging)
        checkpoint = checkpoint.model_copy(update={"name": output.name, "uri": output.as_uri()})
        write_durably(staging / MANIFEST, checkpoint.to_json())
        _remove_working_files(staging)
        publish(staging, output)
    return checkpoint, statistics


def _already_there(transfer: Transfer, output: Path) -> Checkpoint | None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    manifest = output / MANIFEST
    if manifest.is_file():
        checkpoint = Checkpoint.read(manifest)
        if checkpoint.derivation == transfer.derivation:
            FolderSource(path=output).files()  # a damaged result is told, not taken for done
            return checkpoint
    raise OutputConflict(
        f"{output} exists and holds something else than this transfer's result",
        do="choose another output, or remove it",
    )


def _write(transfer: Transfer, plan: TransferPlan, folder: Path) -> tuple[Checkpoint, Statistics]:
    """Write the result's files into `folder`, going on where an earlier try stopped."""
    scale = parse_scale(transfer.scale)
    beside = files_beside(plan)
    _check_space(plan, folder)
    with Progress("transferring", plan.bytes_to_write) as progress:
        records = {
            shard.file: write_shard(
                shard, transfer.inputs, folder, policy=transfer.dtype, scale=scale, progress=progress.advance
            )
            for shard in plan.shards
        }
    files = [File(path=path, size=record.size, sha256=record.sha256) for path, record in records.items()]
    for path, content in beside.items():
        (folder / path).write_bytes(content)
        files.append(File(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest()))
    checkpoint = describe(
        read_layout(FolderSource(path=folder)),
        name=transfer.name,
        uri="",
        files=tuple(files),
        origin={},
        derivation=transfer.derivation,
    )
    return checkpoint, _statistics(records)


def _check_space(plan: TransferPlan, folder: Path) -> None:
    there = sum(path.stat().st_size for path in folder.iterdir())
    needed, free = plan.bytes_to_write - there, shutil.disk_usage(folder).free
    if needed > free:
        raise StorageFull(
            f"the result needs {human_bytes(needed)} more at {folder}, where {human_bytes(free)} are free",
            do="free some space or write elsewhere",
        )


def _remove_working_files(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name.startswith("."):
            path.unlink()


def _statistics(records: dict[str, ShardRecord]) -> Statistics:
    return Statistics(tensors=tuple(entry for record in records.values() for entry in record.statistics))
