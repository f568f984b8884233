import json

import pytest
import torch

from components.checkpoints.layout import INDEX, read_layout
from components.finetune.weights import write_like_base
from components.sources.folder import FolderSource
from tests.support.tinymodels import make_checkpoint, read_weights, stored_dtypes


def write(base, output, **options):
    state = {name: torch.from_numpy(values.copy()) for name, values in read_weights(base).items()}
    write_like_base(read_layout(FolderSource(path=base)), base, state, output, **options)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_untrained_weights_give_the_base_s_bytes(tmp_path, dtype):
    base = make_checkpoint(tmp_path / "base", dtype=dtype, shards=2)
    write(base, tmp_path / "out")
    assert read_weights(tmp_path / "out").keys() == read_weights(base).keys()
    assert stored_dtypes(tmp_path / "out") == stored_dtypes(base)
    before, after = files(base), files(tmp_path / "out")
    assert all(after[name] == before[name] for name in before if not name.endswith(".safetensors"))


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_another_dtype_is_told_wherever_the_base_tells_its_own(tmp_path, dtype, key):
    base = make_checkpoint(tmp_path / "base", dtype=dtype, shards=2)
    config = json.loads((base / "config.json").read_text())
    config[key] = config.pop("dtype")
    (base / "config.json").write_text(json.dumps(config))
    write(base, tmp_path / "out", dtype="BF16")
    layout, written = (read_layout(FolderSource(path=folder)) for folder in (base, tmp_path / "out"))
    assert set(written.dtypes) == {"BF16"}
    assert {name: tensor.file for name, tensor in written.tensors.items()} == {
        name: tensor.file for name, tensor in layout.tensors.items()
    }
    assert written.config == layout.config | {key: "bfloat16"}
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    assert index["metadata"]["total_size"] == 2 * layout.parameters
    unchanged = set(files(base)) - {*layout.headers, *({"config.json", INDEX} if dtype != "bfloat16" else ())}
    assert all(files(tmp_path / "out")[name] == files(base)[name] for name in unchanged)
