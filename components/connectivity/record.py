"""What a run keeps of its forecast."""

from components.forecast import Forecast
from components.step import Step


def record(found: Forecast, run: Step) -> None:
    """Tell MLflow and `recycle run` what is to be expected, before anything is evaluated."""
    run.tracker.params({"verdict": found.verdict, "reason": found.reason})
    run.tracker.metrics(found.metrics())
    for number, loss in enumerate(found.line.losses if found.line else ()):
        run.tracker.metrics({"loss along the line": loss}, step=number)
    run.tracker.pipeline_metrics({"forecast": found.number})
    run.tracker.tags({"forecast": str(found), "forecast reason": found.reason})
    run.outcome.update(forecast=str(found), warning=found.warning)
