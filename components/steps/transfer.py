from kfp.dsl import Artifact, Input, Model, Output

from components.steps.component import component


@component
def transfer(
    scale: str,
    dtype: str,
    recycled: Output[Model],
    statistics: Output[Artifact],
    source_base: Input[Model] = None,  # with Optional, KFP's back end cannot pass it
    source_tuned: Input[Model] = None,
    target_base: Input[Model] = None,
    digests: dict = {},  # type: ignore[type-arg] # noqa: B006 - the form that KFP reads
    role: str = "recycled",
) -> None:
    """Write M_t + λ·(FT(M_s) − M_s), streaming, and measure every tensor on the way.

    The three checkpoints are given as artifacts or, in a loop over several transfers, by their `digests` in the store.
    """
    from pathlib import Path

    from components.steps.artifacts import read_checkpoint, read_from_store, write_checkpoint
    from components.store import open_store
    from components.tracking import step
    from components.transfer import ROLES, parse_scale, transfer_in_store

    with step("transfer" if role == "recycled" else f"transfer {role}") as run:
        store = open_store()
        if digests:
            parents = {name: read_from_store(digest, store) for name, digest in digests.items()}
        else:
            artifacts = (source_base, source_tuned, target_base)
            parents = {name: read_checkpoint(artifact) for name, artifact in zip(ROLES, artifacts, strict=True)}
        made, measured = transfer_in_store(parents, scale=parse_scale(scale), dtype=dtype, store=store)
        run.tracker.params({"scale": scale, "dtype": dtype, "digest": made.digest, "uri": made.uri})
        run.tracker.metrics(measured.summary())
        run.tracker.text(made.to_json().decode(), f"{role}/checkpoint.json")
        run.tracker.tags({f"digest of {role}": made.digest})
        write_checkpoint(recycled, made)
        statistics.metadata["role"] = role
        Path(statistics.path).write_text(measured.model_dump_json(), encoding="utf-8")
