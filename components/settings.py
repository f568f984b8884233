"""Every environment variable that Recycle reads. What varies from run to run is a pipeline parameter, never here.

`VARIABLES` is the table of them, from which docs/settings.md is made; the functions below it give their values:

    settings.store_uri()   # where checkpoints are kept
    settings.memory()      # bytes that a transfer may take
"""

import os
from dataclasses import dataclass
from pathlib import Path

from components.errors import BadParameter
from components.units import parse_bytes


@dataclass(frozen=True, kw_only=True)
class Variable:
    """An environment variable."""

    name: str
    meaning: str
    default: str = ""
    """The value that holds where it is not set, for people; empty for none."""
    secret: bool = False
    """Whether its value gives access to something, and so is never shown."""


VARIABLES = (
    Variable(
        name="RECYCLE_HOME",
        meaning="folder for everything that runs on one machine leave: logs, reports, the store, MLflow's file",
        default=".recycle",
    ),
    Variable(
        name="RECYCLE_STORE",
        meaning="the checkpoint store: a folder, or s3://bucket/prefix on an S3 server such as MinIO",
        default="$RECYCLE_HOME/store",
    ),
    Variable(
        name="RECYCLE_MEMORY",
        meaning="memory that a transfer may take for its buffers, whatever the size of the models, such as 2GB",
        default="512MB",
    ),
    Variable(name="RECYCLE_RUN_ID", meaning="name of the pipeline run that a step belongs to; pipelines set it"),
    Variable(
        name="RECYCLE_SOURCE",
        meaning="digest of the source that a pipeline was compiled from, which its steps compare with their image's; "
        "pipelines set it",
    ),
    Variable(
        name="RECYCLE_WEBHOOK",
        meaning="address to which the watch posts what happened",
        secret=True,
    ),
    Variable(name="RECYCLE_LLAMA_TASKS", meaning="folder with Meta's task files, for the suite llama-instruct"),
    Variable(name="RECYCLE_OPEN_INSTRUCT", meaning="checkout of Open-Instruct, for the recipes that train with it"),
    Variable(
        name="RECYCLE_OPEN_INSTRUCT_PYTHON",
        meaning="Python of Open-Instruct's environment",
        default="$RECYCLE_OPEN_INSTRUCT/.venv/bin/python",
    ),
    Variable(name="RECYCLE_OLMES", meaning="checkout of OLMES, for the suites that are asked with it"),
    Variable(
        name="RECYCLE_OLMES_PYTHON",
        meaning="Python of OLMES's environment",
        default="$RECYCLE_OLMES/.venv/bin/python",
    ),
    *(
        Variable(
            name=f"RECYCLE_SCRATCH_{step}",
            meaning=f"size of the scratch volume that the step {step.lower()} has on a cluster; pipelines set it",
        )
        for step in ("CONNECTIVITY", "EVALUATE", "FINETUNE")
    ),
    Variable(
        name="RECYCLE_BUCKET_USERS",
        meaning="folder with the users for whom the job `buckets` sets up buckets on MinIO",
        default="/users",
    ),
    Variable(
        name="AWS_ENDPOINT_URL_S3",
        meaning="address of the S3 server that the store and s3:// checkpoints are on; else AWS_ENDPOINT_URL",
        default="https://s3.amazonaws.com",
    ),
    Variable(
        name="AWS_ENDPOINT_URL",
        meaning="address of the S3 server where AWS_ENDPOINT_URL_S3 is not set",
    ),
    Variable(name="AWS_ACCESS_KEY_ID", meaning="name of the account on the S3 server"),
    Variable(name="AWS_SECRET_ACCESS_KEY", meaning="password of that account", secret=True),
    Variable(name="AWS_SESSION_TOKEN", meaning="token of a temporary account", secret=True),
    Variable(
        name="AWS_REGION",
        meaning="region of the S3 server; else AWS_DEFAULT_REGION",
        default="us-east-1",
    ),
    Variable(name="AWS_DEFAULT_REGION", meaning="region of the S3 server where AWS_REGION is not set"),
    Variable(name="MINIO_ENDPOINT", meaning="address of the MinIO server on which the job `buckets` sets up buckets"),
    Variable(name="MINIO_ROOT_USER", meaning="name of the administrator of that server"),
    Variable(name="MINIO_ROOT_PASSWORD", meaning="password of that administrator", secret=True),
    Variable(
        name="HF_ENDPOINT",
        meaning="address of the Hugging Face hub, or of a mirror of it",
        default="https://huggingface.co",
    ),
    Variable(
        name="HF_HUB_OFFLINE", meaning="1 where the hub is not to be asked: then its cache on this machine is read"
    ),
    Variable(
        name="HF_HOME", meaning="folder of huggingface_hub, whose cache is in hub", default="~/.cache/huggingface"
    ),
    Variable(name="HF_HUB_CACHE", meaning="the hub's cache on this machine", default="$HF_HOME/hub"),
    Variable(name="XDG_CACHE_HOME", meaning="folder of caches, where HF_HOME is not set", default="~/.cache"),
    Variable(name="HF_TOKEN", meaning="token for gated and private models and data sets of the hub", secret=True),
    Variable(
        name="MLFLOW_TRACKING_URI",
        meaning="address of the MLflow server",
        default="sqlite:///$RECYCLE_HOME/mlflow.db",
    ),
    Variable(name="MLFLOW_EXPERIMENT_NAME", meaning="MLflow experiment that runs are recorded in", default="recycle"),
    Variable(name="MLFLOW_RUN_ID", meaning="MLflow run of the pipeline run, where KFP's own plugin opened one"),
    Variable(
        name="MLFLOW_HTTP_REQUEST_MAX_RETRIES",
        meaning="further tries of a request to the MLflow server",
        default="2",
    ),
    Variable(
        name="MLFLOW_HTTP_REQUEST_TIMEOUT",
        meaning="seconds to wait for an answer of the MLflow server",
        default="20",
    ),
    Variable(
        name="KF_PIPELINES_ENDPOINT",
        meaning="address of Kubeflow Pipelines, for upload, submit, runs and schedule; else KFP_ENDPOINT",
    ),
    Variable(name="KFP_ENDPOINT", meaning="address of Kubeflow Pipelines where KF_PIPELINES_ENDPOINT is not set"),
    Variable(name="KFP_NAMESPACE", meaning="your namespace on a Kubeflow Pipelines with several users"),
    Variable(name="KFP_EXISTING_TOKEN", meaning="bearer token for Kubeflow Pipelines", secret=True),
    Variable(
        name="KF_PIPELINES_UI_ENDPOINT",
        meaning="address of Kubeflow Pipelines' pages, for the links that are shown",
        default="KF_PIPELINES_ENDPOINT",
    ),
    Variable(
        name="CUDA_VISIBLE_DEVICES",
        meaning="GPUs that training and evaluation may use",
        default="all",
    ),
    Variable(
        name="OMP_WAIT_POLICY",
        meaning="how the threads of evaluations wait; those that spin are slow where cores are shared",
        default="PASSIVE",
    ),
)

MOUNTS = Path("/etc/recycle")
"""Where a step's pod has the cluster's settings: a folder for each ConfigMap and Secret, a file for each variable."""


def read_mounts(root: Path = MOUNTS) -> None:
    """Set the variables of `VARIABLES` that have a file in a folder under `root`; those that are set already stay.

    A step reads its settings so because a volume is one entry of its pod, where each variable would be one by itself.
    """
    for variable in VARIABLES:
        for file in sorted(root.glob(f"*/{variable.name}")):
            os.environ.setdefault(variable.name, file.read_text(encoding="utf-8").strip())


def home() -> Path:
    """Folder for everything that runs on one machine leave."""
    return Path(os.environ.get("RECYCLE_HOME", ".recycle")).expanduser().absolute()


def store_uri() -> str:
    """The folder or s3:// address of the checkpoint store."""
    return os.environ.get("RECYCLE_STORE") or str(home() / "store")


def run_id() -> str:
    """The pipeline run that this process belongs to, empty outside one."""
    return os.environ.get("RECYCLE_RUN_ID", "")


def pipeline_source() -> str:
    """The digest of the source that this step's pipeline was compiled from, empty outside one."""
    return os.environ.get("RECYCLE_SOURCE", "")


def webhook() -> str:
    """The address to tell what a recurring run did, empty for none. Never show all of it: it lets anyone post."""
    return os.environ.get("RECYCLE_WEBHOOK", "")


def memory() -> int:
    """Bytes that a transfer may take for its buffers."""
    return parse_bytes(os.environ.get("RECYCLE_MEMORY") or "512MB")


def scratch(step: str) -> int | None:
    """Bytes of a step's scratch volume, None where that is not known."""
    size = os.environ.get(f"RECYCLE_SCRATCH_{step.upper()}")
    return parse_bytes(size, f"RECYCLE_SCRATCH_{step.upper()}") if size else None


def path(name: str) -> Path | None:
    """The path that an environment variable holds, None where it is not set.

    Links are not resolved: a link to a Python is what makes its environment.
    """
    value = os.environ.get(name)
    return Path(value).expanduser().absolute() if value else None


def folder(name: str, hint: str) -> Path:
    """The folder that an environment variable names.

    Args:
        name: of the variable.
        hint: where to get such a folder.

    Raises:
        BadParameter: the variable is not set, or to something else.
    """
    found = path(name)
    if found is None:
        raise BadParameter(f"{name} is not set", hint=f"set it to a folder: {hint}")
    if not found.is_dir():
        raise BadParameter(f"{name} is {found}, which is not a folder", hint=hint)
    return found
