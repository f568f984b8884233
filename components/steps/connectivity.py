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
    from pathlib import Path

    from components.forecast import forecast_in_store, record
    from components.steps.artifacts import log_metrics, read_checkpoint, read_document
    from components.store import open_store
    from components.tracking import step
    from components.transfer import Statistics

    with step("will it transfer") as run:
        measured = read_document(statistics, Statistics)
        found = forecast_in_store(read_checkpoint(source_base), read_checkpoint(target_base), measured, open_store())
        record(found, run)
        Path(forecast.path).write_text(found.model_dump_json(), encoding="utf-8")
        log_metrics(figures, found.metrics())
