"""`recycle transfer` and `recycle verify`: checkpoints named as a user types them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from components.checkpoints import Checkpoint, Layout, read_layout, verify
from components.errors import BadParameter, OutputConflict
from components.forecast import count_nonfinite, forecast_by_gap, forecast_by_statistics, sample_belonging
from components.references import open_source, save_checkpoint
from components.sources import FolderSource, HubSource
from components.store import open_checkpoint, open_store
from components.transfer import (
    ROLES,
    Statistics,
    Transfer,
    TransferInput,
    parse_scale,
    transfer_to_folder,
)

Tell = Callable[[str], None]


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
    warn: Tell = lambda text: None,
    note: Tell = lambda text: None,
) -> tuple[Checkpoint, Statistics | None]:
    """Apply a transfer between three named checkpoints (see `transfer_to_folder`).

    What can be refused is refused from headers, before a weight is read or fetched. Folders and buckets are read where
    they are; what is on the hub is saved into the store first. `warn` and `note` are told what a plan warns of and
    notes, before anything is written, and what the statistics of all weights say at the end.
    """
    if str(output).startswith("s3:"):
        raise BadParameter(
            f"OUTPUT is {output}, and this command writes to folders",
            hint="name a folder; to keep results in a bucket set RECYCLE_STORE=s3://bucket/prefix and use recycle run",
        )
    references = (source_base, source_tuned, target_base)
    layouts = dict(zip(ROLES, (read_layout(open_source(reference)) for reference in references), strict=True))
    parents = {role: _input(layout) for role, layout in layouts.items()}
    job = Transfer(parents=parents, scale=parse_scale(scale), dtype=dtype, memory=memory, verified=verified)
    plan = job.plan
    if str(output.resolve()) in [layout.source.reference for layout in layouts.values()]:
        raise OutputConflict(f"{output} is one of the inputs", hint="choose another output")
    belonging = sample_belonging(plan)
    sampled = forecast_by_gap(belonging.gap, belonging.findings()).warning
    for text in filter(None, (sampled, *plan.warnings)):
        warn(text)
    for text in plan.notes:
        note(text)
    if any(isinstance(layout.source, HubSource) for layout in layouts.values()):
        job = replace(job, parents={role: _saved(parent) for role, parent in parents.items()})
    made, statistics = transfer_to_folder(job, output)
    measured = forecast_by_statistics(statistics.tensors, None).warning if statistics else ""
    if measured and measured != sampled:
        warn(f"By all weights: {measured}")
    elif sampled and statistics and not measured:
        note("By all weights, what the sample warned of is not so.")
    return made, statistics


def verify_reference(reference: str) -> tuple[Checkpoint, bool, dict[str, int]]:
    """Read every byte of a named checkpoint; what is on the hub is saved into the store first.

    Returns:
        Its manifest; whether there was one to compare the bytes with; and how many weights are NaN or infinite, by
        tensor, without those that have none.
    """
    source = open_source(reference)
    if isinstance(source, HubSource):
        source = open_checkpoint(save_checkpoint(reference, open_store()))
    return verify(source), source.manifest is not None, count_nonfinite(read_layout(source))


def _input(layout: Layout) -> TransferInput:
    # Weights that were written after their manifest are not what it says: then their digests are taken.
    vouched = not (isinstance(layout.source, FolderSource) and layout.source.is_newer_than_its_manifest())
    return TransferInput(layout=layout, manifest=layout.source.manifest if vouched else None)


def _saved(parent: TransferInput) -> TransferInput:
    """The same input, from the store where it was on the hub."""
    source = parent.layout.source
    if not isinstance(source, HubSource):
        return parent
    return TransferInput.saved(save_checkpoint(source.reference, open_store()))
