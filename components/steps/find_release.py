from typing import NamedTuple

from kfp.dsl import Markdown, Output

from components.steps.component import component


@component
def find_release(
    releases: str,
    source_base: str,
    source_tuned: str,
    scale: str,
    dtype: str,
    suite: str,
    model_name: str,
    retry_after: str,
    seen: Output[Markdown],
) -> NamedTuple(  # type: ignore[valid-type]
    "Watched",
    [
        ("Output", bool),  # kfp.local (2.17.0) sees a condition on a task's output only where it has this name
        ("source_base", str),
        ("source_tuned", str),
        ("target_base", str),
        ("ledger", str),
        ("release", str),
        ("outranked", bool),
    ],
):
    """Look for base releases that were not recycled onto yet, and take the newest."""
    from components.steps.find_release_run import watch_into
    from components.tracking import step

    with step("watch") as run:
        return watch_into(
            seen.path,
            run,
            releases=releases,
            source_base=source_base,
            source_tuned=source_tuned,
            scale=scale,
            dtype=dtype,
            suite=suite,
            model_name=model_name,
            retry_after=retry_after,
        )
