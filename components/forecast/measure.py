"""The line between two bases, kept in the store: it follows from their contents, and is measured once."""

import logging
from pathlib import Path

from components.checkpoints import Checkpoint, digest_of
from components.errors import StorageFull
from components.forecast.not_measured import NotMeasured
from components.forecast.verdict import ConnectivityLine, Forecast, forecast_by_statistics
from components.store import Store, local_copy
from components.tracking import Step
from components.transfer import Statistics

METHOD = "loss at 5 points, 16 x 64 tokens of the bases' own"
"""Another one is another measurement."""

logger = logging.getLogger(__name__)


def forecast_in_store(source: Checkpoint, target: Checkpoint, statistics: Statistics, store: Store) -> Forecast:
    """Forecast a transfer whose statistics are known.

    What cannot be measured here, for want of memory, of room for copies of the bases, or of a model class that can
    load them, is left out, and the forecast says so.

    Args:
        source: the source base.
        target: the target base.
        statistics: of the transfer.
        store: has both bases.

    Raises:
        RecycleError: the bases cannot be read.
    """
    try:
        return forecast_by_statistics(statistics.tensors, _line(source, target, store))
    except NotMeasured as reason:
        logger.warning("the loss along the line between the bases was not measured: %s", reason)
        return forecast_by_statistics(statistics.tensors, None, str(reason))


def _line(source: Checkpoint, target: Checkpoint, store: Store) -> ConnectivityLine:
    key = digest_of([METHOD, source.digest, target.digest])

    def make(work: Path) -> ConnectivityLine:
        # Here, since torch takes seconds to load and a line that is known needs none.
        from components.forecast.line import measure_line

        try:
            with local_copy(source, store) as start, local_copy(target, store) as end:
                return measure_line(start, end)
        except StorageFull as error:
            raise NotMeasured(error.problem) from None

    return store.get_or_create_document("line", key, ConnectivityLine, make)


def record(found: Forecast, run: Step) -> None:
    """Tell MLflow and `recycle run` what is to be expected, before anything is evaluated."""
    run.tracker.params({"verdict": found.verdict, "reason": found.reason})
    run.tracker.metrics(found.metrics())
    for number, loss in enumerate(found.line.losses if found.line else ()):
        run.tracker.metrics({"loss along the line": loss}, step=number)
    run.tracker.pipeline_metrics({"forecast": found.number})
    run.tracker.tags({"forecast": str(found), "forecast reason": found.reason})
    run.outcome.update(forecast=str(found), warning=found.warning)
