import json

import pytest

from components.errors import BadParameter, ProgramFailed
from components.finetune.open_instruct.command import MARK
from components.finetune.open_instruct.progress import TrainingMonitor

DATA = {"rows": 20, "dropped": 1, "left_out": 3, "cut": 2, "batch": 4, "tokens": 100, "learned_tokens": 40}
ENDED = ProgramFailed("python ended with exit code 1; its last lines: | x", hint="read its whole output in a.log")


@pytest.fixture
def seen():
    return {"reports": [], "notes": []}


@pytest.fixture
def monitor(seen):
    return TrainingMonitor(lambda step, figures: seen["reports"].append((step, figures)), seen["notes"].append)


def event(name, **values):
    return MARK + json.dumps({"event": name, **values})


def test_figures_are_passed_on_as_they_come(monitor, seen):
    monitor.line("some other line")
    monitor.line(event("step", step=3, loss=2.5, learning_rate=1e-5, tokens_per_second=12.0, device_memory_gib=0.0))
    figures = {"loss": 2.5, "learning_rate": 1e-5, "tokens_per_second": 12.0, "device_memory_gib": 0.0}
    assert seen["reports"] == [(3, figures)]


def test_what_is_learned_is_noted(monitor, seen):
    monitor.line(event("data", **DATA))
    assert seen["notes"] == [{f"data {name.replace('_', ' ')}": value for name, value in DATA.items()}]


def test_too_little_data(monitor, tmp_path):
    monitor.line(event("data", **DATA | {"rows": 6, "dropped": 3, "left_out": 3}))
    told = monitor.failure(ENDED, tmp_path / "log")
    assert isinstance(told, BadParameter)
    assert "6 conversations, 3 of them without an answer" in told.problem


def test_a_loss_that_is_no_number(monitor, tmp_path):
    monitor.line(event("not finite", step=7, loss="nan"))
    told = monitor.failure(ENDED, tmp_path / "log")
    assert isinstance(told, ProgramFailed)
    assert told.problem == "the loss became nan by step 7"
    assert "learning rate" in told.hint


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "ran out of memory"),
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "ran out of memory"),
        ("  exitcode  : -9 (pid: 4711)", "killed"),
        ("  traceback : Signal 9 (SIGKILL) received by PID 4711", "killed"),
        ("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp", "NCCL"),
        ("ValueError: Some specified arguments are not used by the HfArgumentParser: ['--x']", "arguments"),
        ("ValueError: No examples left after transformation", "sequence length"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ModuleNotFoundError: No module named 'absl'", "lacks a package"),
    ],
)
def test_a_failure_is_told_with_what_it_most_likely_is(monitor, tmp_path, line, what):
    monitor.line(line)
    monitor.line("  exitcode  : 1 (pid: 4711)")
    told = monitor.failure(ENDED, tmp_path / "log")
    assert isinstance(told, ProgramFailed)
    assert told.problem.startswith("Open-Instruct failed: ")
    assert what in told.problem.splitlines()[0]
    assert ENDED.problem in told.problem
    assert told.hint.endswith(ENDED.hint)


def test_the_program_s_own_last_words_come_before_the_launcher_s(monitor, tmp_path):
    launcher = "E1124 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1)"
    said = [*(f"line {number}" for number in range(30)), event("step"), "ValueError: no", launcher, "Root Cause"]
    (tmp_path / "log").write_text("\n".join(said))
    told = monitor.failure(ENDED, tmp_path / "log")
    assert "line 18" not in told.problem
    assert told.problem.startswith("Open-Instruct failed; before it was stopped:\n  | line 19")
    assert f"ValueError: no\n{ENDED.problem}" in told.problem
