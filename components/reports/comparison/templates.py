"""The templates of the two forms of a comparison's report."""

import json
import shlex
from functools import cache

from jinja2 import Environment

from components.reports import rendering
from components.reports.comparison import plots
from components.system import one_line

PUBLISHED = (
    "The published scores are those of other people's runs: prompts, examples, versions, number of questions and the "
    "matching of answers may differ, so a difference from them says nothing by itself."
)


@cache
def html() -> Environment:
    """For HTML."""
    return rendering.html(
        marker=plots.marker,
        published_caption=PUBLISHED,
        python_code=_python_code,
        shell_code=_shell_code,
    )


@cache
def markdown() -> Environment:
    """For Markdown."""
    return rendering.markdown(published_caption=PUBLISHED, python_code=_python_code, shell_code=_shell_code)


def _python_code(path: str) -> str:
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"path = {json.dumps(one_line(path), ensure_ascii=False)}\n"
        "tokenizer = AutoTokenizer.from_pretrained(path)\n"
        'model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")'
    )


def _shell_code(path: str) -> str:
    return f"vllm serve {shlex.quote(one_line(path))}"
