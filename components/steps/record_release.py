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
    from components.steps.record_release_run import settle_release
    from components.tracking import step

    with step("record release") as run:
        settle_release(
            run,
            releases=releases,
            ledger=ledger,
            release=release,
            target_base=target_base,
            passed=passed,
            reason=reason,
            model_name=model_name,
            version=version,
            aliases=aliases,
        )
