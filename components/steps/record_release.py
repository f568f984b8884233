from kfp.dsl import Input, Model

from components.steps.component import component


@component
def record_release(
    releases: str,
    ledger: str,
    release: str,
    target_base: Input[Model],
    passed: bool,
    reason: str,
    model_name: str,
    version: str,
    aliases: str,
) -> None:
    """Note that a release was recycled, and tell people what came of it."""
    from components.steps.artifacts import read_checkpoint
    from components.tracking import step
    from components.watch import Recycled, record_recycled

    with step("record release") as run:
        recycled = Recycled(
            target_base=read_checkpoint(target_base),
            passed=passed,
            reason=reason,
            model_name=model_name,
            version=version,
            aliases=aliases,
        )
        record_recycled(run, recycled, releases=releases, ledger=ledger, release=release)
