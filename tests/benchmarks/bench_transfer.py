"""How fast a transfer is, beside the least that any program must do and beside the reference held in memory.

    python tests/benchmarks/bench_transfer.py [--parameters 200_000_000] [--folder DIR]

Checkpoints are generated; every row is a process of its own over the same files, in one run, cache warm. `limit` reads
the three inputs and writes as much as the output, with no arithmetic.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BLOCK = 8 << 20
HIDDEN = 2048
PREPARED = ("base", "tuned", "target")

LIMIT = f"""
import os, sys
*inputs, output = sys.argv[1:]
with open(output, "wb") as target:
    for number, path in enumerate(inputs):
        with open(path, "rb") as source:
            while block := source.read({BLOCK}):
                if number == 0:
                    target.write(block)
    target.flush()
    os.fsync(target.fileno())
"""

REFERENCE = """
import sys
from safetensors.torch import load_file, save_file
base, tuned, target = (load_file(path) for path in sys.argv[1:4])
for name, tensor in target.items():
    tensor += tuned[name].double() - base[name].double()
save_file(target, sys.argv[4], metadata={"format": "pt"})
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parameters", type=lambda text: int(text.replace("_", "")), default=200_000_000)
    parser.add_argument("--folder", type=Path, help="where to put the files; it must have room for five checkpoints")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folder = Path(place)
        for seed, name in enumerate(PREPARED):
            generate(folder / name, arguments.parameters, seed)
        weights = [str(folder / name / "model.safetensors") for name in PREPARED]
        transfer = "from pipelines.cli import main; main()"
        names = [str(folder / name) for name in PREPARED]
        commands = {
            "limit: read 3, write 1": [LIMIT, *weights, str(folder / "out")],
            "recycle transfer": [transfer, "transfer", *names, str(folder / "out")],
            "reference in memory (torch)": [REFERENCE, *weights, str(folder / "out")],
        }
        rows = {
            name: [measure(code, rest, folder) for _ in range(arguments.runs)]
            for name, (code, *rest) in commands.items()
        }
    print_table(arguments.parameters, rows)


def generate(folder: Path, parameters: int, seed: int) -> None:
    """A checkpoint of one shard whose tensors are small changes of each other, as releases are."""
    folder.mkdir()
    rows = 4096
    count = max(1, parameters // (rows * HIDDEN))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    header, size = {}, rows * HIDDEN * 2
    for index in range(count):
        header[f"model.layers.{index}.mlp.up_proj.weight"] = {
            "dtype": "BF16",
            "shape": [rows, HIDDEN],
            "data_offsets": [index * size, (index + 1) * size],
        }
    encoded = json.dumps(header).encode()
    generator = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for _ in range(count):
            values = generator.standard_normal(rows * HIDDEN, dtype=np.float32) * 0.02 * (1 + 0.05 * seed)
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def measure(code: str, rest: list[str], folder: Path) -> tuple[float, float]:
    """Wall seconds and peak memory in GB of one run in a process of its own."""
    before = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code, *rest], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - before
    if status:
        sys.exit(process.stderr.read().decode() if process.stderr else "failed")
    for path in (folder / "out",):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return seconds, usage.ru_maxrss * 1024 / 1e9


def print_table(parameters: int, rows: dict[str, list[tuple[float, float]]]) -> None:
    limit = sorted(seconds for seconds, _ in rows["limit: read 3, write 1"])[len(next(iter(rows.values()))) // 2]
    print(f"{parameters / 1e9:.2f} B parameters in bfloat16, median of {len(next(iter(rows.values())))} runs\n")
    print(f"{'':32}{'seconds':>9}{'× limit':>9}{'peak GB':>9}")
    for name, runs in rows.items():
        seconds = sorted(seconds for seconds, _ in runs)[len(runs) // 2]
        print(f"{name:32}{seconds:>9.2f}{seconds / limit:>9.2f}{max(memory for _, memory in runs):>9.2f}")


if __name__ == "__main__":
    main()
