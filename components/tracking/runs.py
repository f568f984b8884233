"""MLflow: one parent run a pipeline run, a nested run a step.

KFP's MLflow plugin opens these runs itself and hands each step MLFLOW_RUN_ID; then that run is used. Otherwise the
parent is found by the pipeline run's id, which every step has in RECYCLE_RUN_ID, and made by the first step.
Without MLFLOW_TRACKING_URI everything goes into a sqlite file and a folder under RECYCLE_HOME.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components import __version__, settings
from components.errors import RecycleError, ServiceUnavailable
from components.system import disk_errors, exclusive_lock, masker, without_passwords
from components.tracking.address import DATABASE_FILE, server_address, tracking_uri
from components.tracking.errors import exists_already, mlflow_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "recycle"
RUN_TAG = "recycle.run_id"
STEP_TAG = "recycle.step"
PARENT_TAG = "mlflow.parentRunId"
DESCRIPTION_TAG = "mlflow.note.content"
FAILURE_TAG = "failure"
BROKEN_OFF = ("FAILED", "KILLED")
LONGEST_PARAM = 6000
"""MLflow refuses longer parameter values (`MAX_PARAM_VAL_LENGTH`)."""
LONGEST_FAILURE = 4000
"""Characters; a tag may have 8,000 (`MAX_TAG_VAL_LENGTH`), 5,000 in older servers."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """One step's run in MLflow."""

    client: "MlflowClient"
    run_id: str
    root_id: str
    """The pipeline run's, however deep the step lies in conditions, loops and nested pipelines; empty where there is
    none."""
    owned: bool
    """Whether these runs were opened here and so are closed here; KFP's plugin closes its own."""

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters of the step.

        KFP's plugin logs a task's inputs itself, in another form, and MLflow takes a parameter only once: in a run
        of the plugin's they become tags.
        """
        with mlflow_errors():
            logged = self.client.get_run(self.run_id).data.params
            for key, value in values.items():
                text = str(value)[:LONGEST_PARAM]
                if not self.owned or logged.get(key, text) != text:
                    self.client.set_tag(self.run_id, key, text)
                else:
                    self.client.log_param(self.run_id, key, text)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics. Long work must not die of a metric, so a server that does not answer is only logged."""
        try:
            for key, value in values.items():
                self.client.log_metric(self.run_id, key, value, step=step)
        except Exception as error:
            logger.warning("metrics of step %d did not reach MLflow: %s", step, without_passwords(str(error)))

    def text(self, content: str, path: str) -> None:
        """Log a document as an artifact of the step and, where there is one, of the pipeline run."""
        with mlflow_errors():
            for run_id in filter(None, (self.run_id, self.root_id)):
                self.client.log_text(run_id, content, path)

    def describe_pipeline(self, text: str, values: Mapping[str, object]) -> None:
        """Say what the pipeline run is about.

        Args:
            text: its description, in Markdown.
            values: parameters that runs are told apart by; one that has another value already becomes a tag.
        """
        run_id = self.root_id or self.run_id
        with mlflow_errors():
            self.client.set_tag(run_id, DESCRIPTION_TAG, text)
            logged = self.client.get_run(run_id).data.params
            for key, value in values.items():
                cut = str(value)[:LONGEST_PARAM]
                if logged.get(key, cut) == cut:
                    self.client.log_param(run_id, key, cut)
                else:
                    self.client.set_tag(run_id, key, cut)

    def name_pipeline(self, name: str) -> None:
        """Give the pipeline run a name that says what came of it."""
        with mlflow_errors():
            self.client.update_run(self.root_id or self.run_id, name=name)

    def tags(self, values: Mapping[str, str]) -> None:
        """Tag the pipeline run, which is where people look."""
        with mlflow_errors():
            for key, value in values.items():
                self.client.set_tag(self.root_id or self.run_id, key, value)

    def pipeline_metrics(self, values: Mapping[str, float]) -> None:
        """Log the metrics that a pipeline run is compared by."""
        with mlflow_errors():
            for key, value in values.items():
                self.client.log_metric(self.root_id or self.run_id, key, value)

    def end_pipeline(self) -> None:
        """Mark the pipeline run finished, whatever failed at first."""
        with mlflow_errors():
            if self.root_id and FAILURE_TAG in self.client.get_run(self.root_id).data.tags:
                self.client.delete_tag(self.root_id, FAILURE_TAG)
            if self.owned:
                self.client.set_terminated(self.root_id, "FINISHED")


@contextmanager
def track(step: str) -> Iterator[Tracker]:
    """Open the step's run, and close it as it ends; why it failed is tagged to it and to the pipeline's.

    Raises:
        ServiceUnavailable: MLflow does not answer when the run is opened.
    """
    tracker = _open(step)
    _reopen(tracker)
    try:
        yield tracker
    except (KeyboardInterrupt, SystemExit):
        _close(tracker, "KILLED")
        raise
    except BaseException as error:
        problem = error.problem if isinstance(error, RecycleError) else f"{type(error).__name__}: {error}"
        _close(tracker, "FAILED", failure=f"step {step!r} failed: {problem}")
        raise
    _close(tracker, "FINISHED")


def connect_mlflow() -> "MlflowClient":
    """A client for the tracking server that the environment names, or the one on this machine.

    Raises:
        ServiceUnavailable: the address is none that MLflow knows, or its file cannot be made.
    """
    # MLflow's defaults wait minutes for a server that is not there.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    address = tracking_uri()
    import mlflow

    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with mlflow_errors(), _one_at_a_time(address):
        mlflow.set_tracking_uri(address)
        return mlflow.MlflowClient()


@contextmanager
def _one_at_a_time(address: str) -> Iterator[None]:
    """Where this is a database file, no two clients at once: each would make its tables.

    Raises:
        ServiceUnavailable: the file cannot be made, which MLflow would try for minutes.
    """
    if not address.startswith(DATABASE_FILE):
        yield
        return
    file = Path(address.removeprefix(DATABASE_FILE))
    if not os.access(file.parent, os.W_OK):
        raise ServiceUnavailable(
            f"MLflow's file would be in {file.parent}, which is no folder that can be written",
            hint="make it, or set MLFLOW_TRACKING_URI to another place",
        )
    with exclusive_lock(file, wait=True):
        yield


def _open(step: str) -> Tracker:
    embedded = not server_address()  # asked now, since MLflow itself sets the variable when a client connects
    if embedded:
        with disk_errors(settings.home()):
            settings.home().mkdir(parents=True, exist_ok=True)
    client = connect_mlflow()
    with mlflow_errors():
        given = os.environ.get("MLFLOW_RUN_ID")
        if given:
            run = client.get_run(given)
            if run.info.run_name != step:
                client.update_run(given, name=step)  # the plugin calls it by its component, such as evaluate-3
            return Tracker(client=client, run_id=given, root_id=_root_of(client, run), owned=False)
        experiment = _experiment(client, embedded)
        parent = _find_or_create(client, experiment, {RUN_TAG: settings.run_id()}, name=settings.run_id() or "recycle")
        tags = {PARENT_TAG: parent, STEP_TAG: step}
        run_id = _find_or_create(client, experiment, tags, name=step)
        return Tracker(client=client, run_id=run_id, root_id=parent, owned=True)


def _root_of(client: "MlflowClient", run: "Run") -> str:
    """The pipeline's run above a step's; KFP's plugin opens one for each condition, loop and nested pipeline between.

    Empty where nothing is above it.
    """
    root = ""
    while above := run.data.tags.get(PARENT_TAG):
        root, run = above, client.get_run(above)
    return root


def _experiment(client: "MlflowClient", embedded: bool) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is None:
        location = (settings.home() / "mlartifacts").as_uri() if embedded else None
        with exists_already():
            client.create_experiment(name, artifact_location=location)
        found = client.get_experiment_by_name(name)
    if found is None:
        raise ServiceUnavailable(
            f"MLflow's experiment {name!r} is there, but it cannot be opened",
            hint="set MLFLOW_EXPERIMENT_NAME to another name",
        )
    return str(found.experiment_id)


def _find_or_create(client: "MlflowClient", experiment: str, tags: dict[str, str], name: str) -> str:
    if all(tags.values()):
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = client.search_runs([experiment], query, max_results=1)
        if found:
            return str(found[0].info.run_id)
    created = client.create_run(experiment, run_name=name, tags=tags | {"recycle.version": __version__})
    return str(created.info.run_id)


def _reopen(tracker: Tracker) -> None:
    """Open again the run of a step that is tried again, and the pipeline's where that failed by this step.

    A step that is tried for the first time opens nothing: where another has failed, branches beside it go on.
    """
    with mlflow_errors():
        runs = [tracker.client.get_run(run_id) for run_id in filter(None, (tracker.run_id, tracker.root_id))]
        failure = runs[0].data.tags.get(FAILURE_TAG)
        if failure is None and runs[0].info.status not in BROKEN_OFF:
            return
        for run in runs:
            if run.data.tags.get(FAILURE_TAG) != failure:
                continue
            if failure is not None:
                tracker.client.delete_tag(run.info.run_id, FAILURE_TAG)
            if tracker.owned and run.info.status in BROKEN_OFF:
                tracker.client.update_run(run.info.run_id, status="RUNNING")


def _close(tracker: Tracker, status: str, failure: str = "") -> None:
    try:
        if failure:
            for run_id in filter(None, (tracker.run_id, tracker.root_id)):
                _tag_failure(tracker.client, run_id, failure)
        if tracker.owned:
            tracker.client.set_terminated(tracker.run_id, status)
        if tracker.owned and status != "FINISHED":
            tracker.client.set_terminated(tracker.root_id, status)
    except Exception as error:
        logger.warning("MLflow was not told that the step is %s: %s", status.lower(), without_passwords(str(error)))


def _tag_failure(client: "MlflowClient", run_id: str, failure: str) -> None:
    client.set_tag(run_id, FAILURE_TAG, masker(os.environ)(failure)[:LONGEST_FAILURE])


def close_run(run_id: str, failure: str) -> None:
    """Mark what is still open of a pipeline run as killed, for a step that was killed before it could say why."""
    client = connect_mlflow()
    with mlflow_errors():
        experiment = client.get_experiment_by_name(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
        if experiment is None:
            return
        for parent in client.search_runs([experiment.experiment_id], f"tags.`{RUN_TAG}` = '{run_id}'"):
            query = f"tags.`{PARENT_TAG}` = '{parent.info.run_id}' and attributes.status = 'RUNNING'"
            for run in [*client.search_runs([experiment.experiment_id], query), parent]:
                if run.info.status == "RUNNING":
                    _tag_failure(client, run.info.run_id, failure)
                    client.set_terminated(run.info.run_id, "KILLED")
