"""What every task of every pipeline gets: one place for names, security, resources and caching."""

import inspect
from collections.abc import Callable
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.pipeline_task import PipelineTask

NON_ROOT = 10001
"""User and group of our images; Pod Security `restricted` refuses pods that do not say so."""


def pipeline(function: Callable[..., Any]) -> GraphComponent:
    """Decorator: a pipeline whose name and description come from the function's name and docstring alone."""
    name = function.__name__.replace("_", "-")
    made: GraphComponent = dsl.pipeline(name=name, description=inspect.getdoc(function))(function)
    return made


def task(made: PipelineTask, name: str) -> PipelineTask:
    """Give a task its name for people, and what a cluster asks of its pod.

    Args:
        made: the task.
        name: what the graph shows.
    """
    # KFP caches by names and paths, not by what they lead to, and never looks whether the result is still there. The
    # store reuses finished work by digest, which is right in both.
    made.set_display_name(name).set_caching_options(False)
    made.set_cpu_request("500m").set_memory_request("1Gi")
    kubernetes.set_security_context(made, run_as_user=NON_ROOT, run_as_group=NON_ROOT, run_as_non_root=True)
    # From the pod's label, so that a new run's id does not make every task's inputs new and defeat caching.
    kubernetes.use_field_path_as_env(made, "RECYCLE_RUN_ID", "metadata.labels['pipeline/runid']")
    return made
