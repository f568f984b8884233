"""What every pipeline is made of, and what every task of it gets: names, environment, security, resources."""

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from kfp import dsl, kubernetes
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.pipeline_task import PipelineTask

from components.settings import MOUNTS
from pipelines.parts.form import describe_for_ui
from pipelines.parts.glossary import complete_docstring
from pipelines.parts.resources import Resources, StepResources

NON_ROOT = 10001
"""User and group of our images; Pod Security `restricted` refuses pods that do not say so."""

SCRATCH = "/scratch"

RETRYING_S = 3600
"""Between a step's tries, all of them together."""

CONFIG_MAP = "recycle"
"""Says where services are; it may be missing, and so may each of its keys."""

SECRETS = ("recycle-store", "recycle-hub")
"""May be missing, and so may each of their keys."""

WEBHOOK = "recycle-webhook"
"""Secret, which may be missing, for the steps that tell people: its address lets anyone write there."""
TELLING = ("find-release", "record-release")


class Check(Protocol):
    """See `Pipeline.check`."""

    def __call__(self, parameters: Mapping[str, Any], *, here: bool) -> None:
        """Refuse all of a pipeline's parameters, or none; `here` where its steps run on this machine."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A pipeline that is still to be built, since resources are settled when it is."""

    function: Callable[..., Any]
    uses: "tuple[Pipeline, ...]"
    check: Check
    """Refuses parameters that some later step would fail with, before the first one starts."""

    @property
    def name(self) -> str:
        """As KFP shows it."""
        return self.function.__name__.replace("_", "-")

    @property
    def description(self) -> str:
        """As KFP shows it, in Markdown; of a part of others, its docstring."""
        if self.check is _nothing:
            return inspect.getdoc(self.function) or ""
        return describe_for_ui(self.function)

    def build(self, resources: Resources) -> GraphComponent:
        """The pipeline as KFP compiles and runs it."""
        building = _Building(resources=resources)
        token = _BUILDING.set(building)
        try:
            return self._build(building)
        finally:
            _BUILDING.reset(token)

    def _build(self, building: "_Building") -> GraphComponent:
        # KFP cannot define a pipeline while it defines another.
        for part in self.uses:
            building.parts[part.name] = part._build(building)
        describe = dsl.pipeline(name=self.name, description=self.description)
        made: GraphComponent = describe(self.function)
        return made

    def __call__(self, **arguments: object) -> PipelineTask:
        """Add this pipeline as a step of the one that is being defined."""
        return _BUILDING.get().parts[self.name](**arguments)


@dataclass(frozen=True, kw_only=True)
class _Building:
    resources: Resources
    parts: dict[str, GraphComponent] = field(default_factory=dict)


_BUILDING: ContextVar[_Building] = ContextVar("building")


def _nothing(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse nothing: the pipelines that are parts of others, whose parameters those have checked."""


def pipeline(*, check: Check = _nothing, uses: tuple[Pipeline, ...] = ()) -> Callable[[Callable[..., Any]], Pipeline]:
    """Decorator: a pipeline whose name and description come from the function's name and docstring.

    The docstring of one that users start is completed from the glossary.

    Args:
        check: see `Pipeline.check`.
        uses: the pipelines that it has as steps.
    """

    def decorate(function: Callable[..., Any]) -> Pipeline:
        if check is not _nothing:  # one that users start, and not a part of another
            function.__doc__ = complete_docstring(function)
        return Pipeline(function=function, uses=uses, check=check)

    return decorate


def parallelism() -> int:
    """How many iterations of a loop may run side by side in the pipeline that is being defined."""
    return _BUILDING.get().resources.parallelism


def task(made: PipelineTask, name: str) -> PipelineTask:
    """Give a task its name for people, and what a cluster asks of its pod.

    Args:
        made: the task.
        name: what the graph shows.
    """
    resources = _BUILDING.get().resources
    step = made.component_spec.name
    settings = resources.steps[step]
    # The store answers by digest, and says when a result is not there any more; KFP's own cache does neither.
    made.set_display_name(name).set_caching_options(False)
    made.set_container_image(resources.image(step))
    # Argo, as manifests/kfp sets it up, tries again where a pod was lost or ended from outside, and never after a
    # step's own failure. Which of the two it is, KFP's set_retry cannot say: the expression is in the workflow
    # controller's defaults, which Argo merges into each template, whose own limit and back-off win. Steps resume by
    # themselves, so that a second try goes on where the first one was.
    if settings.retries:
        # From the first try's start; whatever runs then is ended, too. KFP's default is an hour.
        longest = (settings.retries + 1) * settings.timeout_s + RETRYING_S
        made.set_retry(
            num_retries=settings.retries,
            backoff_duration="10s",
            backoff_factor=2.0,
            backoff_max_duration=f"{longest}s",
        )
    kubernetes.set_security_context(made, run_as_user=NON_ROOT, run_as_group=NON_ROOT, run_as_non_root=True)
    kubernetes.set_image_pull_policy(made, "IfNotPresent")
    kubernetes.set_timeout(made, settings.timeout_s)
    _size(made, settings)
    _place(made, settings)
    _environment(made, resources)
    return made


def box(made: PipelineTask, name: str) -> PipelineTask:
    """Give a pipeline that is a step of another its name for people."""
    return made.set_display_name(name).set_caching_options(False)


def _size(made: PipelineTask, settings: StepResources) -> None:
    made.set_cpu_request(settings.cpu).set_cpu_limit(settings.cpu_limit)
    made.set_memory_request(settings.memory).set_memory_limit(settings.memory_limit)
    if settings.gpus:
        made.set_accelerator_type(settings.gpu_type).set_accelerator_limit(settings.gpus)
    if settings.scratch_claim:
        kubernetes.mount_pvc(made, settings.scratch_claim, SCRATCH)
    elif settings.storage_class:
        kubernetes.add_ephemeral_volume(
            made, "scratch", SCRATCH, ["ReadWriteOnce"], settings.scratch, settings.storage_class
        )
    else:
        kubernetes.empty_dir_mount(made, volume_name="scratch", mount_path=SCRATCH, size_limit=settings.scratch)
    if settings.shared_memory:
        kubernetes.empty_dir_mount(
            made,
            volume_name="shared-memory",
            mount_path="/dev/shm",  # noqa: S108 - a mount, not a temporary file
            medium="Memory",
            size_limit=settings.shared_memory,
        )


def _place(made: PipelineTask, settings: StepResources) -> None:
    for key, value in settings.node_selector.items():
        kubernetes.add_node_selector(made, key, value)
    for toleration in settings.tolerations:
        kubernetes.add_toleration(made, **toleration.model_dump(exclude_none=True))


def _environment(made: PipelineTask, resources: Resources) -> None:
    # Volumes: each variable by itself would make the Workflow larger, and KFP's run API loses those over a mebibyte.
    kubernetes.use_config_map_as_volume(made, CONFIG_MAP, str(MOUNTS / CONFIG_MAP), optional=True)
    for secret in (*SECRETS, WEBHOOK) if made.component_spec.name in TELLING else SECRETS:
        kubernetes.use_secret_as_volume(made, secret, str(MOUNTS / secret), optional=True)
    kubernetes.use_field_path_as_env(made, "RECYCLE_RUN_ID", "metadata.labels['pipeline/runid']")
    if made.component_spec.name == "resolve":
        # By annotations: an environment variable of the task's own would reach the steps of a run on one machine too.
        for step in ("connectivity", "evaluate", "finetune"):
            annotation = f"recycle/scratch-of-{step}"
            kubernetes.add_pod_annotation(made, annotation, resources.steps[step].scratch)
            kubernetes.use_field_path_as_env(
                made, f"RECYCLE_SCRATCH_{step.upper()}", f"metadata.annotations['{annotation}']"
            )
