"""What to do about a harness's failure, by what it said last."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from components.errors import ProgramFailed

ADVICE = (
    (r"out of memory|OutOfMemoryError", "use a GPU with more memory, more GPUs, or a smaller batch_size in the suite"),
    (
        # 137 is what a shell, and 247 what Python, makes of a child that SIGKILL ended.
        r"SIGKILL|exit code (137|247)\b",
        "it was killed, likely because memory ran out: give the step more, or make batch_size in the suite smaller",
    ),
    (
        r"vLLM only supports CUDA|No CUDA GPUs are available|CUDA driver|no NVIDIA driver",
        "check that the step has a GPU and its driver (nvidia-smi), or run where there is none, without vLLM",
    ),
    (r"ModuleNotFoundError|No module named", "install what is missing in the harness's own environment"),
    (
        r"use the NLTK Downloader to obtain",
        "put that resource of NLTK, from a source you trust, below a folder that NLTK_DATA names in this environment",
    ),
    (r"not found in the task registry|Tasks? not found|Task .* not found", "correct the task's name in the suite"),
    (r"gated dataset|GatedRepo|401 Client Error|403 Client Error", "ask for access to the data set, and set HF_TOKEN"),
    (
        r"OfflineModeIsEnabled|ConnectionError|LocalEntryNotFound|Couldn't reach|Max retries exceeded",
        "let the step reach huggingface.co, or give the suite local data",
    ),
    (
        r"DatasetGeneration\w*Error|BuilderConfig .* not found|DataFilesNotFound|Column .* not in|KeyError",
        "compare the data set's splits and columns with what the task expects",
    ),
    (r"execute the dataset script", "give the task a data set without a script: scripts are not run"),
    (r"max_gen_toks .* greater than max_length", "give the task a larger max_length in the suite"),
    (r"does not have chat_template|chat_template is not set", "give the model's tokenizer its chat template"),
    (r"Argument list too long", "ask fewer of the harness's suites in one suite of yours"),
    (r"No space left on device", "free some space"),
)
"""Pattern of the program's last lines, and what to do; the first that matches holds."""


@contextmanager
def advised() -> Iterator[None]:
    """Add what to do to the failure of a program.

    Raises:
        ProgramFailed: with advice that fits what the program said.
    """
    try:
        yield
    except ProgramFailed as failure:
        for pattern, advice in ADVICE:
            if re.search(pattern, failure.problem):
                raise ProgramFailed(failure.problem, hint=f"{advice}; or {failure.hint}") from None
        raise
