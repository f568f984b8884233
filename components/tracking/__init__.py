"""What is told to MLflow: one parent run a pipeline run, a nested run a step, and the registered models.

Each step runs inside `step(...)`: that opens the step's run in MLflow, says in the log how the step starts and ends,
and tags why it failed. Its `Tracker` logs parameters, metrics and documents, never weights. `register_model` adds a
version to MLflow's registry by URI; `render_model_card` writes its card. A server is named by MLFLOW_TRACKING_URI;
without one, everything goes into a file under RECYCLE_HOME. Errors of MLflow's client come as `ServiceUnavailable`.

    with step("evaluate recycled") as run:
        run.tracker.params({"suite": suite.name})
        run.tracker.metrics(evaluation.metrics())
        run.outcome["score"] = evaluation.score  # what `recycle run` shows of the step
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
