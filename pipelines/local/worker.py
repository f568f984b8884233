"""Runs one pipeline through `kfp.local`, as `python -m pipelines.local.worker PIPELINE ROOT JSON`.

A process of its own because `kfp.local` is a singleton, replaces `print` while tasks run and removes folders at its
end; `recycle run` reads what the steps say from this process's output.
"""

import json
import sys
import warnings

from kfp import local

from pipelines.parts import load_pipeline, load_resources


def main(name: str, root: str, parameters: str) -> None:
    """Run the pipeline to its end; the exit code tells whether every step succeeded."""
    # Images and resources mean nothing to a subprocess, and kfp says so once a task.
    warnings.filterwarnings("ignore", module=r"kfp\.")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=root)
    # Not tried again here: a step that failed on this machine would fail again.
    resources = load_resources(assignments=["*.retries=0"])
    load_pipeline(name).build(resources)(**json.loads(parameters))


if __name__ == "__main__":
    main(*sys.argv[1:])
