"""Fine-tuning transfer from three checkpoints to a fourth, in the store or in a folder of the user's."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from components import settings
from components.checkpoints import (
    MANIFEST,
    Checkpoint,
    Derivation,
    File,
    Layout,
    check_at_rest,
    check_digest,
    derive,
    describe,
    digest_of,
    digest_of_file,
    identify,
    read_layout,
    verify,
)
from components.errors import BadCheckpoint, Incompatible, OutputConflict, StorageFull
from components.sources import FolderSource
from components.store import (
    CheckpointWriter,
    FolderCheckpointWriter,
    Store,
    open_checkpoint,
    staging_beside,
    write_file,
)
from components.system import Progress, disk_errors, exclusive_lock, free_bytes, human_bytes, publish, write_durably
from components.transfer.plan import plan_transfer, refuse_same
from components.transfer.result_check import check_config, check_result
from components.transfer.scale import Scale
from components.transfer.shards import ROLES, TARGET_BASE, TransferPlan
from components.transfer.sidecars import result_config, sidecar_files
from components.transfer.statistics import Statistics
from components.transfer.stream import ShardNote, Stream

METHOD = "fine-tuning transfer"


@dataclass(frozen=True, kw_only=True)
class TransferInput:
    """One of the three checkpoints."""

    layout: Layout
    manifest: Checkpoint | None
    """None where there is none: the digests are taken while it is read."""

    @classmethod
    def saved(cls, checkpoint: Checkpoint) -> "TransferInput":
        """A checkpoint whose files a store keeps.

        Raises:
            BadReference: they cannot be found.
        """
        return cls(layout=read_layout(open_checkpoint(checkpoint)), manifest=checkpoint)

    @property
    def version(self) -> object:
        """Names the content before it is read, for as long as nobody changes the files."""
        return [[file.path, file.size, file.version] for file in self.layout.files]

    def identified(self, weights: dict[str, str]) -> Checkpoint:
        """The manifest, after the weight files were read and came to these digests.

        Raises:
            DigestMismatch: a file is not what the manifest says.
            BadCheckpoint: a file was changed meanwhile.
        """
        source = self.layout.source
        digests = weights | {
            file.path: digest_of_file(source, file.path, file.size)
            for file in self.layout.files
            if file.path not in weights
        }
        if self.manifest is None:
            return identify(self.layout, digests)
        for file in self.manifest.files:
            check_digest(f"{source.reference}/{file.path}", file.sha256, digests[file.path])
        return self.manifest


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Three checkpoints and how to combine them."""

    parents: dict[str, TransferInput]
    """By role."""
    scale: Scale
    dtype: str
    memory: int
    """Bytes of buffers."""
    verified: bool | None
    """Whether parents that have a manifest are compared with it while they are read; None for those not in folders.

    What is in a folder was verified when it came there; bytes that come over a network are, each time.
    """

    @property
    def name(self) -> str:
        """What the result is called."""
        return f"{self.parents[TARGET_BASE].layout.source.name}-recycled"

    @property
    def digested(self) -> tuple[str, ...]:
        """The roles of the parents whose digests are taken while they are read."""
        return tuple(role for role, parent in self.parents.items() if parent.manifest is None or self._verifies(parent))

    def _verifies(self, parent: TransferInput) -> bool:
        return not isinstance(parent.layout.source, FolderSource) if self.verified is None else self.verified

    @property
    def key(self) -> str:
        """Names the work before its parents are read."""
        versions = [self.parents[role].version for role in ROLES]
        return digest_of([versions, derivation({}, self.scale, self.dtype).model_dump()])

    @cached_property
    def plan(self) -> TransferPlan:
        """Prove that it can be done, once, and lay it out.

        Raises:
            Incompatible: it cannot.
            BadParameter: a setting is not one that can be.
        """
        source_base, source_tuned, target_base = (self.parents[role].layout for role in ROLES)
        return plan_transfer(
            source_base=source_base,
            source_tuned=source_tuned,
            target_base=target_base,
            scale=self.scale,
            dtype=self.dtype,
        )


def derivation(parents: dict[str, Checkpoint], scale: Scale, dtype: str) -> Derivation:
    """What the bytes of a transfer's result follow from."""
    return derive(METHOD, parents, {"scale": str(scale), "dtype": dtype})


def transfer_in_store(
    checkpoints: dict[str, Checkpoint], *, scale: Scale, dtype: str, store: Store
) -> tuple[Checkpoint, Statistics]:
    """Apply a transfer from store to store; one that was done before is not done again.

    Args:
        checkpoints: the three, by role.
        scale: λ.
        dtype: the dtype policy.
        store: has them, and gets the result.

    Raises:
        RecycleError: the checkpoints do not fit, or a file cannot be read or written.
    """
    refuse_same(*(checkpoints[role].digest for role in ROLES))
    key = derivation(checkpoints, scale, dtype).key

    def find() -> tuple[Checkpoint, Statistics] | None:
        checkpoint = store.get_checkpoint("transfer", key)
        statistics = store.get_document("transfer-statistics", key, Statistics)
        return (checkpoint, statistics) if checkpoint and statistics else None

    def make(work: Path) -> tuple[Checkpoint, Statistics]:
        parents = {role: TransferInput.saved(checkpoint) for role, checkpoint in checkpoints.items()}
        transfer = Transfer(parents=parents, scale=scale, dtype=dtype, memory=settings.memory(), verified=None)
        checkpoint, statistics = _write(transfer, transfer.plan, store.writer(work))
        store.put("transfer-statistics", key, statistics.model_dump_json())
        return store.keep_checkpoint("transfer", key, checkpoint), statistics

    return store.get_or_create(f"transfer-{key}", find, make)


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
            f"{output} is a mount point, which cannot appear all at once", hint="give a folder inside it"
        )
    with disk_errors(output), exclusive_lock(output, wait=False):
        done = _already_there(transfer, output)
        if done is not None:
            FolderCheckpointWriter(output).tidy()
            return done, None
        plan = transfer.plan
        staging = staging_beside(output, transfer.key)
        _check_space(plan, staging)
        checkpoint, statistics = _write(transfer, plan, FolderCheckpointWriter(staging))
        checkpoint = checkpoint.model_copy(update={"name": output.name}).moved_to(output.as_uri())
        write_durably(staging / MANIFEST, checkpoint.to_json())
        publish(staging, output)
        FolderCheckpointWriter(output).tidy()
    return checkpoint, statistics


def _already_there(transfer: Transfer, output: Path) -> Checkpoint | None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    manifest = output / MANIFEST
    if manifest.is_file():
        checkpoint = Checkpoint.read(manifest)
        parents = {role: parent.manifest or identify(parent.layout) for role, parent in transfer.parents.items()}
        if checkpoint.derivation == derivation(parents, transfer.scale, transfer.dtype):
            result = FolderSource(path=output)
            result.files()  # a result that lost a file is told, not taken for done
            return verify(result) if transfer.verified else checkpoint
    raise OutputConflict(
        f"{output} exists and holds something else than this transfer's result",
        hint="choose another output, or remove it",
    )


def _write(transfer: Transfer, plan: TransferPlan, writer: CheckpointWriter) -> tuple[Checkpoint, Statistics]:
    """Write the result's files, going on where an earlier try stopped."""
    check_config(plan, result_config(plan))
    beside = sidecar_files(plan)
    try:
        with (
            Progress("transferring", plan.bytes_to_read + plan.bytes_to_write) as progress,
            Stream(
                plan, writer, digested=transfer.digested, memory=transfer.memory, progress=progress.advance
            ) as stream,
        ):
            records = {shard.file: stream.write_shard(shard) for shard in plan.shards}
            digests = stream.input_digests()
        parents = {role: _identified(parent, digests.get(role)) for role, parent in transfer.parents.items()}
        refuse_same(*(parents[role].digest for role in ROLES))
    except (BadCheckpoint, Incompatible):
        writer.discard()  # made of what should not have been read
        raise
    files = [File(path=path, size=record.size, sha256=record.sha256) for path, record in records.items()]
    files += [write_file(writer, path, content) for path, content in beside.items()]
    layout = read_layout(writer.source)
    check_result(layout, plan)
    checkpoint = describe(
        layout,
        name=transfer.name,
        files=tuple(files),
        origin={},
        derivation=derivation(parents, transfer.scale, transfer.dtype),
    )
    notes = (ShardNote.of(record) for record in records.values())
    return checkpoint, Statistics(tensors=tuple(entry for note in notes if note for entry in note.statistics))


def _identified(parent: TransferInput, weights: dict[str, str] | None) -> Checkpoint:
    check_at_rest(parent.layout)
    if weights is not None:
        return parent.identified(weights)
    if parent.manifest is None:
        raise AssertionError(f"{parent.layout.source.reference} was not digested")
    return parent.manifest


def _check_space(plan: TransferPlan, folder: Path) -> None:
    there = sum(path.stat().st_size for path in folder.iterdir())
    needed, free = plan.bytes_to_write - there, free_bytes(folder)
    if needed > free:
        raise StorageFull(
            f"the result needs {human_bytes(needed)} more at {folder}, where {human_bytes(free)} are free",
            hint="free some space or write elsewhere",
        )
