"""The program that tells what a Python environment has: versions, GPUs and its folder of packages.

Started by path, in that environment; it imports nothing of Recycle.
"""

import json
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def main(answer: Path, packages: list[str]) -> None:
    """Write the answer, one JSON object, to a file; packages that are not there have no version in it."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    found = {"versions": versions, "gpus": _gpus(), "packages": sysconfig.get_paths()["purelib"]}
    answer.write_text(json.dumps(found), encoding="utf-8")


def _gpus() -> list[dict[str, object]]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    return [{"name": gpu.name, "bytes": gpu.total_memory, "capability": gpu.major} for gpu in found]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
