"""One tick of a recurring run: at most one new release, recycled onto."""

from kfp import dsl

from components.steps.find_release import find_release
from components.steps.record_release import record_release
from components.steps.resolve import resolve
from pipelines.parts import check_watching, pipeline, recycle_resolved, task


@pipeline(check=check_watching)
def watch(
    releases: str = "demo:release-*",
    source_base: str = "demo:release-1",
    source_tuned: str = "demo:release-1-instruct",
    scale: str = "1",
    dtype: str = "auto",
    suite: str = "demo",
    gate_tolerance: float = 0.02,
    model_name: str = "",
    retry_after: str = "12h",
) -> None:
    """Look where base releases appear, and move a fine-tune onto the newest that it was not moved onto yet.

    Made to be run again and again, hourly for example: each run takes at most one release, so that each has a run and
    a report of its own, and a backlog is worked off by the runs that follow. What was seen and done is kept in the
    store, by the content of the releases: the same content under another name is not new, other content under the
    same name is. A release that does not fit is noted with its reason, and looked at again when its files change. What
    failed or was broken off is tried again after a while. Another fine-tune, scale, dtype, suite or model name begins
    anew.

    Args:
        releases: Where they appear: hub:owner/name@PATTERN, the branches and tags of a repository;
            hub:owner/PATTERN, the models of an account, or with a tag of the hub behind a comma those that have it
            (hub:owner/PATTERN,base_model:owner/name); a folder or s3://bucket/prefix, the checkpoints directly in it;
            demo:PATTERN, the demo's. A pattern has * and ?.
        suite: What the models are evaluated on, by name.
        retry_after: How long after its beginning an attempt that failed or was broken off is made again (30m, 12h,
            2d); doubled each time, at most a week.
    """
    found = task(
        find_release(
            releases=releases,
            source_base=source_base,
            source_tuned=source_tuned,
            scale=scale,
            dtype=dtype,
            suite=suite,
            model_name=model_name,
            retry_after=retry_after,
        ),
        "watch",
    )
    with dsl.If(found.outputs["Output"] == True, name="if there is a new release"):  # noqa: E712 - KFP overloads ==
        resolved = task(
            resolve(
                transfer="",
                source_base=found.outputs["source_base"],
                source_tuned=found.outputs["source_tuned"],
                target_base=found.outputs["target_base"],
                scale=scale,
                dtype=dtype,
                suite=suite,
                recipe="",
                gate_tolerance=gate_tolerance,
                model_name=found.outputs["model_name"],
            ),
            "resolve",
        )
        judged = recycle_resolved(
            resolved,
            scale=scale,
            dtype=dtype,
            gate_tolerance=gate_tolerance,
            keeps_aliases=found.outputs["superseded"],
        )
        task(
            record_release(
                releases=releases,
                ledger=found.outputs["ledger"],
                release=found.outputs["release"],
                target_base=judged.target_base,
                passed=judged.verdict.outputs["passed"],
                reason=judged.verdict.outputs["reason"],
                model_name=found.outputs["model_name"],
                version=judged.registered.outputs["version"],
                aliases=judged.registered.outputs["aliases"],
            ),
            "record-release",
        )
