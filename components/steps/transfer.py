from kfp.dsl import Artifact, Input, Model, Output

from components.steps.component import component


@component
def transfer(
    source_base: Input[Model],
    source_tuned: Input[Model],
    target_base: Input[Model],
    scale: str,
    dtype: str,
    recycled: Output[Model],
    statistics: Output[Artifact],
    role: str = "recycled",
) -> None:
    """Write M_t + λ·(FT(M_s) − M_s), streaming, and measure every tensor on the way."""
    from pathlib import Path

    from components.steps.artifacts import read_checkpoint, write_checkpoint
    from components.store import open_store
    from components.tracking import step
    from components.transfer import ROLES, transfer_in_store

    with step("transfer" if role == "recycled" else f"transfer {role}") as run:
        artifacts = zip(ROLES, (source_base, source_tuned, target_base), strict=True)
        parents = {role: read_checkpoint(artifact) for role, artifact in artifacts}
        made, measured = transfer_in_store(parents, scale=scale, dtype=dtype, store=open_store())
        run.tracker.params({"scale": scale, "dtype": dtype, "digest": made.digest, "uri": made.uri})
        run.tracker.metrics(measured.summary())
        run.tracker.text(made.to_json().decode(), f"{role}/checkpoint.json")
        run.tracker.tags({f"digest of {role}": made.digest})
        write_checkpoint(recycled, made)
        statistics.metadata["role"] = role
        Path(statistics.path).write_text(measured.model_dump_json(), encoding="utf-8")
