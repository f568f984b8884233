"""The program that runs Open-Instruct's `finetune.py`: it says what is learned and how it goes, one JSON line each.

Started by path, in Open-Instruct's environment, once for every process; it imports nothing of this package. Its
arguments are the path of `finetune.py` and what that is told. Nothing of Open-Instruct is changed on disk.
"""

import argparse
import ctypes
import importlib
import json
import math
import os
import runpy
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

import accelerate
import huggingface_hub
import torch
from accelerate.state import PartialState
from accelerate.tracking import GeneralTracker, register_tracker_class
from accelerate.utils import DistributedType

MARK = "recycle-open-instruct "
"""Starts a line for the one who started this; the rest of it is one JSON object."""
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the stage, and run `finetune.py` as it would run by itself."""
    end_with_parent()
    script = Path(sys.argv[1])
    sys.argv = sys.argv[1:]
    if not torch.cuda.is_available():
        run_on_cpu()
    huggingface_hub.snapshot_download = local_snapshot(huggingface_hub.snapshot_download)
    accelerate.tracking.LOGGER_TYPE_TO_CLASS.pop("wandb", None)
    register_tracker_class(Reporter)
    run = TrainingLength.of(sys.argv)
    run.watch_data()
    run.watch_checkpoints()
    runpy.run_path(str(script), run_name="__main__")


def say(event: str, **values: object) -> None:
    """Write a line in one piece, so that those of other processes stay apart, and on a line of its own."""
    os.write(1, f"\n{MARK}{json.dumps({'event': event, **values})}\n".encode())


def end_with_parent() -> None:
    """Be killed when the launcher dies, however it dies (Linux, prctl(2)): it would leave a training behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_on_cpu() -> None:
    """Do without CUDA, where logging asks for the device and accelerate for one to connect several processes on."""
    torch.cuda.current_device = lambda: 0
    torch.cuda.max_memory_reserved = torch.cuda.max_memory_allocated = lambda device=None: 0
    PartialState._prepare_backend = lambda self, *_, **__: ("gloo", DistributedType.MULTI_CPU)


def local_snapshot(download: Any) -> Any:  # noqa: ANN401 - a function of the hub's client
    """`snapshot_download` that takes a folder for what it is, and not for the name of a repository."""
    return lambda repo, *rest, **named: repo if Path(repo).is_dir() else download(repo, *rest, **named)


class Reporter(GeneralTracker):  # type: ignore[misc] # accelerate is not analysed
    """Takes the place of Weights and Biases, and stops at a loss that is no number."""

    name = "wandb"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()
        self.run = types.SimpleNamespace(url="")
        self._since = time.perf_counter()

    @property
    def tracker(self) -> "Reporter":
        """This object, which `finetune.py` takes for wandb's run."""
        return self

    def log(self, values: dict[str, float], step: int | None = None, **_: object) -> None:
        """Tell how it goes."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        loss = float(values["train_loss"])
        if not math.isfinite(loss):
            say("not finite", step=step, loss=str(loss))
            raise SystemExit(1)
        say(
            "step",
            step=step,
            loss=loss,
            learning_rate=float(values["learning_rate"]),
            tokens_per_second=values["total_tokens_this_log_period"] / max(seconds, 1e-6),
            device_memory_gib=float(values["reserved_mem_GiB"]),
        )


class TrainingLength:
    """The arguments that decide how long a training is."""

    def __init__(self, batch: int, steps: int | None, epochs: int | None, longest: int) -> None:
        self.batch, self.steps, self.epochs, self.longest = batch, steps, epochs, longest
        self.resumed_from = 0

    @classmethod
    def of(cls, arguments: list[str]) -> "TrainingLength":
        """Read them from a command line."""
        parser = argparse.ArgumentParser(allow_abbrev=False)
        for name in ("--max_train_steps", "--num_train_epochs", "--max_seq_length"):
            parser.add_argument(name, type=int)
        for name in ("--per_device_train_batch_size", "--gradient_accumulation_steps"):
            parser.add_argument(name, type=int, required=True)
        known, _ = parser.parse_known_args(arguments[1:])
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        batch = processes * known.per_device_train_batch_size * known.gradient_accumulation_steps
        return cls(batch, known.max_train_steps, known.num_train_epochs, known.max_seq_length)

    def watch_data(self) -> None:
        """Count what is learned, and leave out what does not fill a batch.

        A shorter batch at the end of an epoch would be a smaller step, and Open-Instruct's resuming, which counts
        all steps alike, would go on at another place.
        """
        dataset_transformation: Any = importlib.import_module("open_instruct.dataset_transformation")

        load = dataset_transformation.get_cached_dataset_tulu_with_statistics

        def counted(**arguments: Any) -> Any:  # noqa: ANN401 - a data set
            dataset, statistics = load(**arguments)
            kept = len(dataset) // self.batch * self.batch
            if int(os.environ.get("RANK", "0")) == 0:
                say("data", **self.counts(dataset, statistics, kept))
            if not kept:
                raise SystemExit(1)
            self.steps = self.steps or (self.epochs or 0) * kept // self.batch
            return dataset.select(range(kept))

        dataset_transformation.get_cached_dataset_tulu = counted

    def counts(self, dataset: Any, statistics: dict[str, Any], kept: int) -> dict[str, int]:  # noqa: ANN401
        """Rows and tokens; the tokens are those of all rows that are left after tokenizing."""
        import pyarrow.compute  # type: ignore[import-untyped]

        lengths = [
            int(length)
            for batch in dataset.with_format("arrow").iter(10_000)
            for length in pyarrow.compute.list_value_length(batch["input_ids"]).to_pylist()
        ]
        parts = statistics["per_dataset_stats"]
        return {
            "rows": sum(part["initial_instances"] for part in parts),
            "dropped": sum(part["instances_filtered"] for part in parts),
            "left_out": len(dataset) - kept,
            "cut": sum(length >= self.longest for length in lengths),
            "batch": self.batch,
            "tokens": sum(lengths),
            "learned_tokens": sum(part.get("trainable_tokens", 0) for part in parts),
            "longest": max(lengths, default=0),
        }

    def watch_checkpoints(self) -> None:
        """Call a checkpoint complete when every process has written its part, and take no step after the last one."""
        save, load = accelerate.Accelerator.save_state, accelerate.Accelerator.load_state
        skip = accelerate.Accelerator.skip_first_batches

        def save_state(self: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
            saved = save(self, *rest, **named)
            self.wait_for_everyone()
            return saved

        def load_state(accelerator: Any, folder: str, *rest: Any, **named: Any) -> None:  # noqa: ANN401
            load(accelerator, folder, *rest, **named)
            self.resumed_from = int(folder.rpartition("_")[2])
            if accelerator.is_main_process:
                say("resumed", step=self.resumed_from)

        def skip_first_batches(accelerator: Any, dataloader: Any, batches: int = 0) -> Any:  # noqa: ANN401
            # Open-Instruct looks at the number of steps after a step and not before the first.
            return () if self.resumed_from == self.steps else skip(accelerator, dataloader, batches)

        accelerate.Accelerator.save_state = save_state
        accelerate.Accelerator.load_state = load_state
        accelerate.Accelerator.skip_first_batches = skip_first_batches


if __name__ == "__main__":
    main()
