"""The reference arithmetic with three models in memory.

python in_memory.py BASE TUNED TARGET OUTPUT
"""

import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file


def main() -> None:
    *inputs, output = map(Path, sys.argv[1:])
    names = sorted(path.name for path in inputs[-1].glob("*.safetensors"))
    base, tuned, target = ({name: load_file(folder / name) for name in names} for folder in inputs)
    output.mkdir()
    for extra in inputs[-1].glob("*.json"):
        if extra.name != "checkpoint.json":
            shutil.copy(extra, output)
    for shard, tensors in target.items():
        for name, tensor in tensors.items():
            tensor += tuned[shard][name].double() - base[shard][name].double()
        save_file(tensors, output / shard, metadata={"format": "pt"})


main()
