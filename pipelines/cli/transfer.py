"""`recycle transfer` and `recycle verify`: checkpoints named as a user types them."""

from pathlib import Path

from components.checkpoints import Checkpoint, Layout, read_layout, verify
from components.errors import OutputConflict
from components.references import open_source, save_checkpoint
from components.sources import FolderSource, HubSource
from components.store import open_checkpoint, open_store
from components.transfer import (
    ROLES,
    Statistics,
    Transfer,
    TransferInput,
    parse_scale,
    plan_transfer,
    transfer_to_folder,
)


def transfer_references(
    *,
    source_base: str,
    source_tuned: str,
    target_base: str,
    output: Path,
    scale: str,
    dtype: str,
    memory: int,
    verified: bool | None,
) -> tuple[Checkpoint, Statistics | None]:
    """Apply a transfer between three named checkpoints (see `transfer_to_folder`).

    What can be refused is refused from headers, before a weight is read or fetched. Folders and buckets are read where
    they are; what is on the hub is saved into the store first.
    """
    references = (source_base, source_tuned, target_base)
    layouts = [read_layout(open_source(reference)) for reference in references]
    rules = parse_scale(scale)
    plan_transfer(source_base=layouts[0], source_tuned=layouts[1], target_base=layouts[2], scale=rules, dtype=dtype)
    if str(output.resolve()) in [layout.source.reference for layout in layouts]:
        raise OutputConflict(f"{output} is one of the inputs", hint="choose another output")
    parents = {role: _parent(layout) for role, layout in zip(ROLES, layouts, strict=True)}
    job = Transfer(parents=parents, scale=rules, dtype=dtype, memory=memory, verified=verified)
    return transfer_to_folder(job, output)


def verify_reference(reference: str) -> tuple[Checkpoint, bool]:
    """Read every byte of a named checkpoint; what is on the hub is saved into the store first.

    Returns:
        Its manifest, and whether there was one to compare the bytes with.
    """
    source = open_source(reference)
    if isinstance(source, HubSource):
        source = open_checkpoint(save_checkpoint(reference, open_store()))
    return verify(source), source.manifest is not None


def _parent(layout: Layout) -> TransferInput:
    if isinstance(layout.source, HubSource):
        return TransferInput.saved(save_checkpoint(layout.source.reference, open_store()))
    # Weights that were written after their manifest are not what it says: then their digests are taken.
    vouched = not (isinstance(layout.source, FolderSource) and layout.source.is_newer_than_its_manifest())
    return TransferInput(layout=layout, manifest=layout.source.manifest if vouched else None)
