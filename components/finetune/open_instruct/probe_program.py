"""The program that tells what Open-Instruct's environment has: versions and GPUs, as one JSON object.

Started by path, in that environment; it imports nothing of this package.
"""

import json
import sys
from importlib.metadata import PackageNotFoundError, version

ATTENTION = ("flash-attn", "flash-attn-3", "flash-attn-4")
"""Open-Instruct takes the newest of those that are there, and torch's attention without any."""
PACKAGES = ("torch", "transformers", "accelerate", "deepspeed", "datasets", "wandb", *ATTENTION)


def main() -> None:
    """Write the object to standard output."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    sys.stdout.write("\n" + json.dumps({"versions": versions, "gpus": _gpus()}) + "\n")


def _gpus() -> list[dict[str, object]]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    return [{"name": gpu.name, "bytes": gpu.total_memory, "capability": gpu.major} for gpu in found]


if __name__ == "__main__":
    main()
