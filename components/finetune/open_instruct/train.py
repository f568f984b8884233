"""Fine-tuning with Open-Instruct: a folder for the job, the program in it, and the result in the base's form."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkpoints import TOKENIZER_CONFIG, Layout, read_layout
from components.errors import BadCheckpoint, BadParameter, ProgramFailed
from components.finetune.data.summary import DatasetSummary, write_conversations
from components.finetune.job import job_folder
from components.finetune.open_instruct import command as open_instruct
from components.finetune.open_instruct.checkout import Checkout
from components.finetune.open_instruct.memory import Hardware, Launch, ModelSize, fit
from components.finetune.open_instruct.progress import Note, Report, TrainingMonitor
from components.finetune.recipe import OpenInstructRecipe
from components.finetune.tokenizer import check_chat_template, load_tokenizer, padding_for
from components.finetune.weights import check_vacant, write_like_base
from components.sources import FolderSource
from components.system import discard, exclusive_lock, run_program
from components.transfer import FLOATS

if TYPE_CHECKING:
    import torch

DTYPE = "BF16"
"""Open-Instruct loads every base in it, trains in it and writes it."""
COMPLETED = "COMPLETED"
LOG = "open-instruct.log"
CHAT_TEMPLATE = "chat_template.jinja"
SPECIAL_TOKENS = "special_tokens_map.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """A base, what it is to learn and by which recipe, and what trains it."""

    base: Path
    """Folder with a checkpoint."""
    base_digest: str
    recipe: OpenInstructRecipe
    data: DatasetSummary
    checkout: Checkout
    hardware: Hardware


def finetune(work: TrainingJob, *, output: Path, scratch: Path, report: Report, note: Note) -> None:
    """Fine-tune `work.base` and write the result to `output`.

    The result has the base's file names, tensor names and shapes, its config and tokenizer files, and the chat template
    that it was trained with. Its tensors are bfloat16 whatever the base's are: trained from the base rounded to that,
    so a diff vector is to be taken from the rounded base, as a transfer does by default. The same work gives the same
    bytes on a CPU, whether or not it was killed in between.

    Args:
        work: what to do.
        output: folder to make; complete or absent afterwards.
        scratch: folder for checkpoints, kept after a kill so that the same call goes on where it stopped, emptied at
            the end.
        report: called every few steps with the step and `loss`, `learning_rate`, `tokens_per_second` and
            `device_memory_gib`.
        note: called with what a run should record: how it is launched, and what is learned from.

    Raises:
        BadParameter: the recipe does not go with the hardware, the base or the dataset.
        BadCheckpoint: the base cannot be trained as it is.
        OutputConflict: `output` holds something.
        ProgramFailed: Open-Instruct failed, or the loss or a weight became NaN or infinite.
    """
    check_vacant(output)
    layout = read_layout(FolderSource(path=work.base))
    launch = plan(work, layout)
    note(launch.params)
    with exclusive_lock(scratch, wait=False):
        job = job_folder(scratch, _identity(work, launch)).absolute()
        _prepare(work, layout, launch, job)
        monitor = TrainingMonitor(report, note)
        _run(work, launch, job, monitor)
        trained = job / open_instruct.OUTPUT
        instead = _template_files(work.base, trained)
        write_like_base(layout, work.base, _read_state(trained), output, dtype=DTYPE, instead=instead)
        discard(job)


def plan(work: TrainingJob, layout: Layout) -> Launch:
    """Check everything that can be checked before a program is started, and fit the recipe to the hardware.

    Raises:
        BadParameter: the recipe does not go with the hardware, the base or the dataset.
        BadCheckpoint: the base cannot be trained as it is.
    """
    _check_base(layout)
    if work.data.rows < work.recipe.effective_batch_size:
        raise BadParameter(
            f"the dataset has {work.data.rows} rows, fewer than the {work.recipe.effective_batch_size} of one batch",
            hint="give more rows, or lower effective_batch_size in a recipe of your own",
        )
    size = ModelSize.read(work.base, layout.parameters)
    tokenizer = load_tokenizer(work.base)
    check_chat_template(work.recipe, tokenizer, _config(work.base).get("model_type", ""))
    padding_for(tokenizer, size.vocabulary)
    return fit(work.recipe, work.hardware, size)


def _check_base(layout: Layout) -> None:
    others = sorted(layout.dtypes.keys() - FLOATS.values())
    if others:
        raise BadCheckpoint(
            f"{layout.source.reference} has tensors stored as {', '.join(others)}, which cannot be trained in bfloat16",
            hint="give a base in bfloat16, float16 or float32",
        )
    if not layout.has(TOKENIZER_CONFIG):
        raise BadCheckpoint(
            f"{layout.source.reference} has no {TOKENIZER_CONFIG}, which names the tokens that conversations are "
            "written with",
            hint="copy it from where the checkpoint comes from",
        )


def _identity(work: TrainingJob, launch: Launch) -> dict[str, object]:
    """All that decides the result and the form of a checkpoint: one of other work is of no use."""
    return {
        "recipe": work.recipe.decisive,
        "data": work.data.digest,
        "base": work.base_digest,
        "trainer": work.checkout.trainer,
        "launch": launch.params,
    }


def _prepare(work: TrainingJob, layout: Layout, launch: Launch, job: Path) -> None:
    """Put into the job's folder what the program reads."""
    _link_base(work.base.absolute(), layout, job / open_instruct.BASE)
    part = job / f"{open_instruct.DATA}.part"
    write_conversations(work.data.dataset, part)
    part.replace(job / open_instruct.DATA)
    (job / open_instruct.DEEPSPEED).write_text(json.dumps(open_instruct.deepspeed(launch), indent=2), encoding="utf-8")
    for checkpoint in (job / open_instruct.OUTPUT).glob("step_*"):
        if not _is_complete(checkpoint, launch):
            logger.info("removing %s, which was not written to its end", checkpoint.name)
            discard(checkpoint)


def _link_base(base: Path, layout: Layout, copy: Path) -> None:
    discard(copy)
    copy.mkdir()
    pad = padding_for(load_tokenizer(base), ModelSize.read(base, layout.parameters).vocabulary)
    for file in layout.files:
        if pad is not None and file.path in (TOKENIZER_CONFIG, SPECIAL_TOKENS):
            content = json.loads((base / file.path).read_bytes()) | {"pad_token": pad}
            (copy / file.path).write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
        else:
            (copy / file.path).symlink_to(base / file.path)


def _is_complete(checkpoint: Path, launch: Launch) -> bool:
    """Whether a checkpoint has its mark and every process's part, even where a kill met its removal."""
    ranks = range(launch.processes)
    states = checkpoint / "pytorch_model"
    return (checkpoint / COMPLETED).is_file() and all(
        (checkpoint / f"random_states_{rank}.pkl").is_file()
        and (states / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt").is_file()
        and (states / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").is_file()
        for rank in ranks
    )


def _run(work: TrainingJob, launch: Launch, job: Path, monitor: TrainingMonitor) -> None:
    python, checkout = work.checkout.python, work.checkout.folder
    logger.info(
        "Open-Instruct %s: %d × %s, %d conversations a step (%d processes × %d accumulated)%s%s",
        work.checkout.commit[:7],
        launch.processes,
        work.hardware.name or launch.device,
        launch.effective_batch_size,
        launch.processes,
        launch.accumulation,
        ", gradient checkpointing" * launch.gradient_checkpointing,
        ", offloading" * launch.offload,
    )
    try:
        run_program(
            open_instruct.command(work.recipe, launch, python=python, checkout=checkout),
            log=job / LOG,
            env=open_instruct.environment(launch, checkout=checkout, python=python, job=job),
            cwd=job,
            on_line=monitor.line,
        )
    except ProgramFailed as error:
        raise monitor.failure(error, job / LOG) from None


def _read_state(trained: Path) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = {
            name: tensor for path in sorted(trained.glob("*.safetensors")) for name, tensor in load_file(path).items()
        }
    except (SafetensorError, OSError) as error:
        raise ProgramFailed(f"Open-Instruct's result cannot be read ({error})", hint="run it again") from None
    if not state:
        raise ProgramFailed("Open-Instruct ended without an error but left no weights", hint="read its output")
    return state


def _template_files(base: Path, trained: Path) -> dict[str, bytes]:
    """The chat template that was trained with, in every file where a reader would look for one."""
    template = (trained / CHAT_TEMPLATE).read_bytes()
    config = json.loads((base / TOKENIZER_CONFIG).read_bytes())
    own = base / CHAT_TEMPLATE
    if template.decode() == (own.read_text(encoding="utf-8") if own.is_file() else config.get("chat_template")):
        return {}
    files = {CHAT_TEMPLATE: template}
    if "chat_template" in config:
        changed = config | {"chat_template": template.decode()}
        files[TOKENIZER_CONFIG] = json.dumps(changed, ensure_ascii=False, indent=2).encode()
    return files


def _config(base: Path) -> dict[str, str]:
    content: dict[str, str] = json.loads((base / "config.json").read_bytes())
    return content
