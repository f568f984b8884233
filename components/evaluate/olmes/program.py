"""The program that runs OLMES without what it would run of others: scripts of data sets, and NLTK's pickles.

Started by path, in OLMES's environment, with the arguments of `oe_eval.launch`. That starts `oe_eval.run_eval` as a
program, which comes here a second time, its name before its arguments. It imports nothing of this package.
"""

import importlib
import runpy
import shlex
import sys
from typing import Any

ASKING = "oe_eval.run_eval"


def main() -> None:
    """Run the one or the other."""
    if sys.argv[1:2] == [ASKING]:
        del sys.argv[1]
        distrust(importlib.import_module("datasets.load"))
        fetch_nothing(importlib.import_module("nltk"))
        runpy.run_module(ASKING, run_name="__main__", alter_sys=True)
    else:
        launch: Any = importlib.import_module("oe_eval.launch")
        write = launch.make_cli_command
        launch.make_cli_command = lambda command, arguments: write(through_here(command), arguments)
        launch.main()


def through_here(command: str) -> str:
    """The shell command that starts the program which asks the questions, by way of this one.

    Raises:
        SystemExit: it starts something else.
    """
    if command != f"python -m {ASKING}":
        raise SystemExit(f"this OLMES starts {command!r}, through which data sets could bring scripts")
    return shlex.join([sys.executable, "-P", __file__, ASKING])


def distrust(load: Any) -> None:  # noqa: ANN401 - a module
    """Let `datasets` run no script, whoever asks for it: it takes the hub's Parquet copy, or refuses.

    Everything that loads or describes a data set goes through this function. Since version 4 there are no scripts.
    """
    find = load.dataset_module_factory

    def found(*rest: Any, **named: Any) -> Any:  # noqa: ANN401
        if "trust_remote_code" in named:
            named["trust_remote_code"] = False
        return find(*rest, **named)

    load.dataset_module_factory = found


def fetch_nothing(nltk: Any) -> None:  # noqa: ANN401 - a module
    """Let NLTK download nothing: `punkt`, which IFEval asks for, is pickles, and those run code as they are read."""
    nltk.download = lambda *_, **__: False


if __name__ == "__main__":
    main()
