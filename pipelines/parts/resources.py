"""What each step asks of a cluster: a profile by name, a file of one's own, and single settings on top of it."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import components
from components import __version__
from components.errors import BadParameter, describe_validation
from components.units import parse_duration

PROFILES = Path(__file__).parent / "profiles"
DEFAULT = "cpu"
STEPS = tuple(
    sorted(
        path.stem.replace("_", "-")
        for path in (Path(components.__file__).parent / "steps").glob("*.py")
        if path.stem not in ("__init__", "component", "artifacts") and not path.stem.endswith("_run")
    )
)
"""Every step, as KFP names its tasks."""
EVERY_STEP = "*"

UNITS = {"": 1.0, "m": 1e-3, **{letter: 1000.0**n for n, letter in enumerate("MGTP", start=2)}}
UNITS |= {f"{letter}i": 1024.0**n for n, letter in enumerate("KMGTP", start=1)}

Cpus = Annotated[str, Field(pattern=r"^\d+(\.\d+)?m?$")]
"""CPUs as Kubernetes writes them: 500m, 2, 1.5."""
Bytes = Annotated[str, Field(pattern=r"^[1-9]\d*([MGTP]i?|Ki)?$")]
"""Bytes as both Kubernetes and KFP take them: 512Mi, 4Gi. KFP takes no fraction, and of thousands only a K that
Kubernetes does not know."""


class Toleration(BaseModel):
    """A taint of nodes that a step's pod bears."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None


class StepResources(BaseModel):
    """What the pod of one step asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(min_length=1)
    """`runtime`, `train` or `eval` for one of ours, else a whole image reference."""
    cpu: Cpus
    """That it is promised."""
    cpu_limit: Cpus
    memory: Bytes
    """That it is promised."""
    memory_limit: Bytes
    gpus: int = Field(ge=0)
    gpu_type: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """The nodes' name for them, such as nvidia.com/gpu."""
    scratch: Bytes
    """Room for local copies, data sets and training checkpoints; gone with the pod."""
    storage_class: str
    """Of the scratch volume; empty for the node's own disk."""
    scratch_claim: str
    """A PersistentVolumeClaim to use in its place, which stays: a training whose pod was lost goes on where it was."""
    shared_memory: Bytes | Literal[""]
    """Size of /dev/shm, which GPUs talk through; empty for the container runtime's 64 MB."""
    node_selector: dict[str, str]
    tolerations: tuple[Toleration, ...]
    timeout: str = Field(pattern=r"^\d+[smhd]$")
    retries: int = Field(ge=0, le=10)
    """Tries after one that ended for no fault of the step's: a pod that was deleted or lost with its node."""

    @property
    def timeout_s(self) -> int:
        """The timeout in seconds."""
        return parse_duration(self.timeout, "timeout")


class Resources(BaseModel):
    """A whole profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str = Field(pattern=r"^[\w.:/-]*$")
    """Where our images are, such as ghcr.io/acme; empty for images that are on the nodes."""
    parallelism: int = Field(ge=1)
    """How many iterations of a loop run side by side."""
    steps: dict[str, StepResources]

    def image(self, step: str) -> str:
        """The image that a step runs in."""
        name = self.steps[step].image
        if "/" in name or ":" in name:
            return name
        prefix = f"{self.registry.rstrip('/')}/" if self.registry else ""
        return f"{prefix}recycle/{name}:{__version__}"


def load_resources(profile: str = DEFAULT, assignments: Iterable[str] = ()) -> Resources:
    """Read a profile, and change single settings of it.

    Args:
        profile: `cpu`, `gpu`, or the path of a .yaml file of that form.
        assignments: STEP.SETTING=VALUE with a step's name or `*`, registry=VALUE or parallelism=VALUE.

    Raises:
        BadParameter: there is no such profile, step or setting, or a value is none that it takes.
    """
    settings = _layered(profile, seen=())
    for assignment in assignments:
        _assign(settings, assignment)
    return _checked(settings, profile)


def quantity(text: str) -> float:
    """The number that a Kubernetes quantity stands for: bytes, or CPUs."""
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", text).groups()  # type: ignore[union-attr] # patterns were checked
    return float(number) * UNITS[unit]


def _layered(profile: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """A profile over the one that it extends: `registry`, `parallelism`, and complete settings by step."""
    if profile in seen:
        raise BadParameter(f"the profile {profile} extends itself", hint="correct `extends`")
    content = _read(profile)
    parent = content.pop("extends", None if profile == DEFAULT else DEFAULT)
    settings: dict[str, Any] = _layered(parent, (*seen, profile)) if parent else {"steps": {}}
    steps = content.pop("steps", {}) or {}
    for step, changes in {"default": steps.pop("default", {}), **steps}.items():
        _check_step(step, where=f"the profile {profile}", also="default")
        for name in STEPS if step == "default" else (step,):
            settings["steps"][name] = settings["steps"].get(name, {}) | dict(changes or {})
    return settings | content


def _read(profile: str) -> dict[str, Any]:
    shipped = {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}
    path = shipped.get(profile, Path(profile).expanduser())
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise BadParameter(
            f"there is no resource profile {profile!r}",
            hint=f"choose one of {', '.join(shipped)}, or give the path of a .yaml file",
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadParameter(f"{path} is not YAML: {error}", hint="correct it") from None
    if not isinstance(content, dict) or not isinstance(content.get("steps") or {}, dict):
        raise BadParameter(f"{path} is not a resource profile", hint=f"compare it with those in {PROFILES}")
    return content


def _assign(settings: dict[str, Any], assignment: str) -> None:
    place, equals, text = assignment.partition("=")
    step, dot, name = place.rpartition(".")
    if not equals or (not dot and place not in ("registry", "parallelism")):
        raise BadParameter(
            f"{assignment!r} sets nothing",
            hint="write STEP.SETTING=VALUE such as evaluate.gpus=2 or '*.storage_class=fast', or registry=VALUE",
        )
    if not dot:
        settings[place] = text
        return
    _check_step(step, where=f"{assignment!r}", also=EVERY_STEP)
    for each in STEPS if step == EVERY_STEP else (step,):
        if name not in StepResources.model_fields:
            raise BadParameter(
                f"steps have no setting {name!r}", hint=f"use one of {', '.join(StepResources.model_fields)}"
            )
        structured = name in ("node_selector", "tolerations")
        settings["steps"][each][name] = _parsed(text, assignment) if structured else text


def _parsed(text: str, assignment: str) -> Any:  # noqa: ANN401 - the model checks what it is
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise BadParameter(
            f"the value of {assignment!r} is not YAML: {why}",
            hint="write it like '{pool: a100}', or '[{key: nvidia.com/gpu, operator: Exists}]' for tolerations",
        ) from None


def _check_step(step: str, *, where: str, also: str) -> None:
    if step not in (*STEPS, also):
        raise BadParameter(
            f"{where} names the step {step!r}, which there is not", hint=f"use {also} or {', '.join(STEPS)}"
        )


def _checked(settings: dict[str, Any], profile: str) -> Resources:
    try:
        resources = Resources.model_validate(settings)
    except ValidationError as error:
        raise BadParameter(
            f"these resources cannot be: {describe_validation(error)}",
            hint=f"compare {profile} and what was set with those in {PROFILES}",
        ) from None
    for name, step in resources.steps.items():
        for kind, promised, limit in (("cpu", step.cpu, step.cpu_limit), ("memory", step.memory, step.memory_limit)):
            if quantity(promised) > quantity(limit):
                raise BadParameter(
                    f"{name} is promised more {kind} ({promised}) than its limit allows ({limit})",
                    hint=f"raise {name}.{kind}_limit too",
                )
    return resources
