"""Evaluation suites: YAML files of `suites/` by their names, or the user's own by their paths."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    ValidationError,
    model_validator,
)

from components import settings
from components.checkpoints import digest_of
from components.definitions import load_definition
from components.errors import BadParameter, describe_validation
from components.evaluate.local_data import check_local_data
from components.system import sha256_file

Dtype = Literal["bfloat16", "float16", "float32"]


class LmEvalTask(BaseModel):
    """One task of lm-evaluation-harness, and which of its figures counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str
    """One phrase on its questions, for a reader who has not seen its file."""
    metric: str = Field(pattern=r"^[\w.-]+,[\w.-]+$")
    """Metric and filter as the harness's results have them, for example `exact_match,none`; in [0, 1]."""
    benchmark: str | None = None
    """The benchmark that it is, by the name it has in papers, for example `GSM8K`; None where it is none of those."""
    max_length: int | None = Field(default=None, ge=1)
    """Most tokens of a question and its reply together; None for what the model can do."""


class LmEvalSettings(BaseModel):
    """Settings of lm-evaluation-harness; None stands for the task's or the harness's own default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    apply_chat_template: bool
    """Write questions as conversations, with few-shot examples as turns; not where the tokenizer has no template."""
    num_fewshot: int | None = Field(default=None, ge=0)
    batch_size: int = Field(default=1, ge=1)
    """Questions at once; vLLM makes its own batches."""
    dtype: Dtype
    """The dtype that the weights are loaded in."""
    max_gen_toks: int | None = Field(default=None, ge=1)
    """Most tokens of a reply."""
    limit: int | None = Field(default=None, ge=1)
    """Questions asked of each task: a random sample that is the same every time."""
    seed: int = Field(default=123, ge=0)


class LmEvalDefinition(BaseModel):
    """The content of the YAML file of a suite for lm-evaluation-harness."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str
    harness: Literal["lm-eval"]
    include_path: str | None = None
    """Folder with the task files and their data, relative to the YAML file; `$NAME` for the folder that this
    environment variable names; None for the harness's own tasks."""
    include_help: str = ""
    """Hint on how to get a folder that does not ship."""
    offline: bool = False
    """Whether the folder has all the data, so that nothing is downloaded."""
    tasks: tuple[LmEvalTask, ...] = Field(min_length=1)
    settings: LmEvalSettings


class OlmesTask(BaseModel):
    """One task of OLMES, or one of its suites, whose score is the macro average over its subtasks.

    Which figure counts is OLMES's own choice, its primary score.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str
    """One phrase on its questions, for a reader who does not know it."""
    model_type: Literal["vllm", "hf"] = "vllm"
    """The library that runs the model; transformers (hf) takes the place of vLLM where there is no GPU or no vLLM."""
    max_length: int | None = Field(default=None, ge=1)
    """Most tokens of a question and its reply together; None for OLMES's own default."""
    limit: int | None = Field(default=None, ge=1)
    """Questions asked of it, or of each of its subtasks: a random sample that is the same every time."""
    benchmark: str | None = None
    """The benchmark that it is, by the name it has in papers, for example `GSM8K`; None where it is none of those."""
    data: str | None = None
    """Folder with its data set, relative to the YAML file; None for the one on the hub."""
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    """Commit of the data set on the hub; None for whatever is there when it is asked."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.data is not None and self.revision is not None:
            raise ValueError("data and revision are both given: a folder has no commit")
        return self


class OlmesSettings(BaseModel):
    """Settings with which OLMES loads the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    add_bos_token: bool
    """Whether each prompt begins with the token that begins texts."""
    fallback_chat_template: str | None = None
    """OLMES's name of the template for models whose tokenizer brings none, as base models; None to refuse those
    where a task is a conversation."""
    batch_size: int = Field(default=1, ge=1)
    """Questions at once; vLLM makes its own batches."""
    dtype: Dtype
    """The dtype that the weights are loaded in."""


class OlmesDefinition(BaseModel):
    """The content of the YAML file of a suite for OLMES."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str
    harness: Literal["olmes"]
    tasks: tuple[OlmesTask, ...] = Field(min_length=1)
    settings: OlmesSettings


class ExtendingDefinition(BaseModel):
    """The content of the YAML file of a suite that asks another one's tasks, but fewer questions or in another way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str
    extends: str
    """Name of the other suite, or the path of its YAML file, relative to this one."""
    limits: dict[str, int] = {}
    """Limits of tasks of OLMES, by their names."""
    settings: dict[str, Any] = {}
    """Settings that differ from the other suite's."""


def _kind_of(content: object) -> str | None:
    return None if not isinstance(content, dict) else "extending" if "extends" in content else content.get("harness")


class Definition(
    RootModel[
        Annotated[
            Annotated[LmEvalDefinition, Tag("lm-eval")]
            | Annotated[OlmesDefinition, Tag("olmes")]
            | Annotated[ExtendingDefinition, Tag("extending")],
            Discriminator(
                _kind_of, custom_error_type="harness", custom_error_message="harness is not one of 'lm-eval', 'olmes'"
            ),
        ]
    ]
):
    """The content of a suite's YAML file."""


class LmEvalSuite(LmEvalDefinition):
    """A suite for lm-evaluation-harness that was found, with all it consists of."""

    folder: Path | None
    """The include path in absolute form."""
    working_folder: Path | None
    """Working directory of the harness, to which task files can name their data relative: the folder itself, or the
    one that holds it where it came from the environment, as Meta's task files want it."""
    digest: str
    """sha256 over the definition and every file of the folder: a changed one is another suite."""


class OlmesSuite(OlmesDefinition):
    """A suite for OLMES that was found, with all it consists of."""

    folders: dict[str, Path]
    """Folders with the data of the tasks that bring their own, by the tasks' names."""
    digest: str
    """sha256 over the definition and every file of those folders: a changed one is another suite."""


Suite = LmEvalSuite | OlmesSuite


def load_suite(name_or_path: str) -> Suite:
    """Read a suite by its name or from a YAML file.

    Raises:
        BadParameter: there is none, it is not a suite, or a folder that it names is not there or not what it must be.
    """
    definition, path = _resolved(name_or_path, seen=())
    names = [task.name for task in definition.tasks]
    if len(set(names)) < len(names):
        raise BadParameter(f"{path} names a task twice", hint="name each task once")
    content = definition.model_dump()
    if isinstance(definition, OlmesDefinition):
        folders = {task.name: _data(path, task.data) for task in definition.tasks if task.data is not None}
        return OlmesSuite(**content, folders=folders, digest=_digest(content, folders))
    folder, working_folder = _folders(path, definition)
    named = {"tasks": folder} if folder else {}
    return LmEvalSuite(**content, folder=folder, working_folder=working_folder, digest=_digest(content, named))


def _resolved(name_or_path: str, seen: tuple[Path, ...]) -> tuple[LmEvalDefinition | OlmesDefinition, Path]:
    """A definition that extends no other any more, and the YAML file to which the folders in it are relative."""
    loaded, path = load_definition("evaluation suite", name_or_path, Definition)
    own = loaded.root
    if not isinstance(own, ExtendingDefinition):
        return own, path
    if path in seen:
        raise BadParameter(f"the suite {path} extends itself", hint="correct `extends`")
    beside = path.parent / own.extends
    other, origin = _resolved(str(beside) if beside.is_file() else own.extends, (*seen, path))
    unknown = own.limits.keys() - {task.name for task in other.tasks}
    if unknown:
        raise BadParameter(f"{path} limits {min(unknown)}, which {own.extends} has not", hint="correct `limits`")
    content = other.model_dump() | {"name": own.name, "description": own.description}
    content["settings"] |= own.settings
    for task in content["tasks"]:
        task |= {"limit": own.limits[task["name"]]} if task["name"] in own.limits else {}
    try:
        return type(other).model_validate(content), origin
    except ValidationError as error:
        raise BadParameter(
            f"{path} is not an evaluation suite: {describe_validation(error)}", hint=f"compare it with {own.extends}"
        ) from None


def _data(path: Path, relative: str) -> Path:
    folder = (path.parent / relative).resolve()
    check_local_data(folder)
    return folder


def _folders(path: Path, definition: LmEvalDefinition) -> tuple[Path | None, Path | None]:
    if definition.include_path is None:
        return None, None
    if definition.include_path.startswith("$"):
        folder = settings.folder(definition.include_path[1:], definition.include_help)
        return folder, folder.parent
    folder = (path.parent / definition.include_path).resolve()
    if not folder.is_dir():
        raise BadParameter(f"{path} includes {folder}, which is not a folder", hint="correct include_path")
    return folder, folder


def _digest(definition: dict[str, Any], folders: dict[str, Path]) -> str:
    files = [
        [name, path.relative_to(folder).as_posix(), sha256_file(path)]
        for name, folder in folders.items()
        for path in _files(folder)
    ]
    return digest_of({"definition": definition, "files": files})


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
