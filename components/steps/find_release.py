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
    "NewRelease",
    [
        ("Output", bool),  # kfp.local (2.17.0) sees a condition on a task's output only where it has this name
        ("source_base", str),
        ("source_tuned", str),
        ("target_base", str),
        ("ledger", str),
        ("release", str),
        ("superseded", bool),
        ("model_name", str),
    ],
):
    """Look for base releases that were not recycled onto yet, and take the newest."""
    from components.tracking import step
    from components.watch import WatchRequest, find_new_release

    request = WatchRequest(
        releases=releases,
        source_base=source_base,
        source_tuned=source_tuned,
        scale=scale,
        dtype=dtype,
        suite=suite,
        model_name=model_name,
        retry_after=retry_after,
    )
    with step("watch") as run:
        return tuple(find_new_release(request, run, seen.path))
