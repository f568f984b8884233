"""Whether an attempt to recycle is over, by its run in MLflow: a pipeline that is killed tells the ledger nothing."""

import time

from components.tracking import BROKEN_OFF, Tracker, mlflow_errors
from components.watch.ledger import ReleaseRecord
from components.watch.polling import RunOutcome

RECORDING_S = 600
"""What passes between the end of a pipeline's MLflow run, which `register` tells, and the end of `record-release`."""
RETRYING_S = 600
"""What passes at most until a cluster tries a step again, which opens its run in MLflow again."""


def outcome_in_mlflow(tracker: Tracker, release: ReleaseRecord) -> RunOutcome:
    """What MLflow knows of a running attempt: nothing, too, where it has no run of it.

    Raises:
        ServiceUnavailable: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    if not release.tracked:
        return RunOutcome()
    with mlflow_errors():
        try:
            run = tracker.client.get_run(release.tracked)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return RunOutcome()  # another server, or deleted
            raise
    if run.info.lifecycle_stage == "deleted":
        return RunOutcome()
    status, now = run.info.status, time.time()
    over_s = now - (run.info.end_time or 0) / 1000
    is_retried = now - release.since < RETRYING_S or (status == "KILLED" and over_s < RETRYING_S)
    if status in BROKEN_OFF and not is_retried:
        return RunOutcome(over=str(run.data.tags.get("failure") or f"broken off: its run in MLflow is {status}"))
    if status == "FINISHED" and over_s > RECORDING_S:
        return RunOutcome(over="broken off after it was registered")
    return RunOutcome(goes_on=True)
