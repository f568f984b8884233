import pytest

from components.errors import ProgramFailed
from components.evaluate.running import advised


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "smaller batch_size"),
        ("python -m oe_eval.launch ended with exit code 247; its last lines:", "memory ran out"),
        ("ended with exit code 137; its last lines:", "memory ran out"),
        ("AssertionError: vLLM only supports CUDA", "nvidia-smi"),
        ("ModuleNotFoundError: No module named 'langdetect'", "install what is missing"),
        ("ValueError: Task gsm9k not found in the task registry!", "correct the task's name"),
        ("datasets.exceptions.DatasetNotFoundError: Dataset 'x' is a gated dataset on the Hub", "HF_TOKEN"),
        ("ConnectionError: Couldn't reach 'openai/gsm8k' on the Hub (OfflineModeIsEnabled)", "local data"),
        ("ValueError: BuilderConfig 'main' not found. Available: ['other']", "splits and columns"),
        ("datasets.exceptions.DatasetGenerationCastError: An error occurred", "splits and columns"),
        ("KeyError: 'question'", "splits and columns"),
        ("ValueError: Loading x requires you to execute the dataset script in that repo on your local", "not run"),
        ("  Resource \x1b[93mpunkt\x1b[0m not found.\n  Please use the NLTK Downloader to obtain", "NLTK_DATA"),
        ("  Resource \x1b[93mpunkt_tab\x1b[0m not found.\n  Please use the NLTK Downloader to obtain", "NLTK_DATA"),
        ("ValueError: max_gen_toks (512) is greater than max_length (256)", "larger max_length"),
        ("ValueError: Tokenizer does not have chat_template!", "chat template"),
        ("OSError: [Errno 28] No space left on device", "free some space"),
    ],
)
def test_what_a_harness_says_decides_what_to_do(said, advice):
    with pytest.raises(ProgramFailed) as failure, advised():
        raise ProgramFailed(said, hint="read its whole output in olmes-0.log")
    assert failure.value.problem == said
    assert advice in failure.value.hint
    assert "olmes-0.log" in failure.value.hint


def test_other_failures_pass():
    with pytest.raises(ProgramFailed) as failure, advised():
        raise ProgramFailed("ended with exit code 1", hint="read on")
    assert failure.value.hint == "read on"
