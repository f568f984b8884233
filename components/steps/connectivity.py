from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components.steps.component import component


@component
def connectivity(
    source_base: Input[Model],
    target_base: Input[Model],
    statistics: Input[Artifact],
    forecast: Output[Artifact],
    figures: Output[Metrics],
) -> None:
    """Say whether the transfer is likely to work, from its statistics and the loss along the line between the bases."""
    import json
    from pathlib import Path

    from components.forecast import forecast_in_store, record
    from components.steps.artifacts import read_checkpoint
    from components.store import open_store
    from components.tracking import step
    from components.transfer import Statistics

    with step("will it transfer") as run:
        measured = Statistics.model_validate_json(Path(statistics.path).read_bytes())
        found = forecast_in_store(read_checkpoint(source_base), read_checkpoint(target_base), measured, open_store())
        record(found, run)
        Path(forecast.path).write_text(found.model_dump_json(), encoding="utf-8")
        for name, value in found.metrics().items():
            figures.log_metric(name, value)
        # KFP's local cache takes an output without a file for missing.
        Path(figures.path).write_text(json.dumps(found.metrics()), encoding="utf-8")
