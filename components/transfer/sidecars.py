"""The files beside the weights of a recycled model, and whose they are.

The target's: the config, because its weights were trained with those values (rotary embeddings, context length), and
the licence. The fine-tuned model's: every data file, because its answers are framed by them: tokenizer, chat templates,
processors, generation config. The target's come in where the fine-tune has none of that kind. Code is never carried.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.checkpoints import (
    INDEX,
    Layout,
    check_sidecar,
    dtype_key,
    read_object,
    weight_index,
    with_language_values,
)
from components.transfer.dtypes import TORCH_NAMES
from components.transfer.shards import TransferPlan
from components.transfer.special_tokens import GENERATION_CONFIG, TOKENIZER_CONFIG, config_ids, generation_config

CONFIG = "config.json"
TEMPLATE = "chat_template.jinja"
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json")
LICENCES = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "COPYING")
LEFTOVERS = ("trainer_state.json", "training_args.json", "adapter_config.json", "all_results.json")
"""What training leaves behind, and no loader reads."""


def kind_of(path: str) -> str | None:
    """What a file beside the weights is: licence, generation, template, processor, tokenizer or data; None for others.

    By rule and not by a list of names, since each model brings names of its own.
    """
    name = path.rsplit("/", 1)[-1]
    if name.upper().startswith(LICENCES):
        return "licence"
    if path in (CONFIG, INDEX) or name.endswith((".safetensors", ".index.json", "_results.json")) or name in LEFTOVERS:
        return None
    if name == GENERATION_CONFIG:
        return "generation"
    if name.endswith(".jinja") or name.startswith("chat_template"):
        return "template"
    if "processor" in name and name.endswith(".json"):
        return "processor"
    if name.endswith((".model", ".tiktoken")) or name.startswith(("vocab", "merges", "tekken", "normalizer")):
        return "tokenizer"
    if "token" in name and name.endswith((".json", ".txt")):
        return "tokenizer"
    return "data" if name.endswith(".json") else None


def sidecar_files(plan: TransferPlan) -> dict[str, bytes]:
    """The content of each file beside the weights, by name.

    Raises:
        BadCheckpoint: one that is carried is empty, no JSON, or the pointer that git keeps in place of a large file.
    """
    contents = {path: layout.source.read(path) for path, layout in sorted(_carried(plan).items())}
    for path, content in contents.items():
        check_sidecar(_carried(plan)[path].source.reference, path, content)
    contents.pop(GENERATION_CONFIG, None)
    generation = generation_config(plan.source_tuned, plan.target_base)
    if generation is not None:
        contents[GENERATION_CONFIG] = generation
    template = _template_of_config(plan)
    if template is not None:
        contents.setdefault(TEMPLATE, template)
    contents[CONFIG] = _pretty(result_config(plan))
    if len(plan.shards) > 1 or plan.target_base.has(INDEX):
        contents[INDEX] = _pretty(_index(plan))
    return contents


def sidecar_notes(plan: TransferPlan) -> Iterator[str]:
    """What of the files beside the weights a person should know."""
    tuned, target = plan.source_tuned, plan.target_base
    kinds = {role: _kinds(layout) for role, layout in plan.layouts.items()}
    *_, theirs, ours = kinds.values()
    if "tokenizer" in theirs and not _has_vocabulary(tuned):
        yield (
            f"the fine-tune has no vocabulary beside {', '.join(sorted(theirs['tokenizer']))}: "
            "the result has the target's tokenizer"
        )
    elif "tokenizer" not in theirs and "tokenizer" in ours:
        yield "the fine-tune has no tokenizer: the result has the target's"
    carried = _carried(plan)
    for whose, layout in (("fine-tune", tuned), ("target", target)):
        left = [file.path for file in layout.files if kind_of(file.path) is None and not _made_here(file.path, layout)]
        if whose == "fine-tune":
            left += [path for path in theirs.get("tokenizer", ()) if path not in carried]
        if left:
            yield f"left out of the result, from the {whose}: {', '.join(sorted(left))}"
    if "auto_map" in target.config and _transformers_knows(target.config):
        yield "auto_map names code for a model that transformers has itself; the result's config leaves it out"


def sidecar_warnings(plan: TransferPlan) -> Iterator[str]:
    """What the result lacks to be loaded."""
    code = _code(plan.target_base.config)
    if code and not _transformers_knows(plan.target_base.config):
        yield (
            f"auto_map names code, which is never carried: copy {', '.join(code)} from the target beside the result, "
            "after reading it, for transformers to load the result."
        )


def result_config(plan: TransferPlan) -> dict[str, Any]:
    """The target's config with the result's dtype, token ids, rows and head."""
    config = with_language_values(plan.target_base.config, config_ids(plan.source_tuned, plan.target_base))
    target_rows, rows = plan.target_rows, plan.rows
    if rows is not None and rows != target_rows:
        config = with_language_values(config, {"vocab_size": rows})
    if plan.unties:
        config = with_language_values(config, {"tie_word_embeddings": False}) | {"tie_word_embeddings": False}
    if _transformers_knows(config):
        config.pop("auto_map", None)
    dtype = _main_dtype(plan)
    if dtype is not None:
        config[dtype_key(config)] = TORCH_NAMES[dtype]
    return config


def _carried(plan: TransferPlan) -> dict[str, Layout]:
    """Whose file it is, by path."""
    tuned, target = _kinds(plan.source_tuned), _kinds(plan.target_base)
    if not _has_vocabulary(plan.source_tuned):
        tuned.pop("tokenizer", None)
    licences = target.pop("licence", set())
    tuned.pop("licence", None)
    target.pop("data", None)
    carried = dict.fromkeys(licences, plan.target_base)
    for kind in tuned.keys() | target.keys():
        whose, files = (plan.source_tuned, tuned[kind]) if kind in tuned else (plan.target_base, target[kind])
        carried |= dict.fromkeys(files, whose)
    return carried


def _kinds(layout: Layout) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in layout.files:
        kind = kind_of(file.path)
        if kind is not None:
            found[kind].add(file.path)
    return dict(found)


def _has_vocabulary(layout: Layout) -> bool:
    return any(file.path in VOCABULARIES or file.path.endswith((".model", ".tiktoken")) for file in layout.files)


def _template_of_config(plan: TransferPlan) -> bytes | None:
    """The fine-tune's chat template where it stands in a tokenizer config that is not carried."""
    tuned = plan.source_tuned
    if not tuned.has(TOKENIZER_CONFIG) or _has_vocabulary(tuned):
        return None
    template = read_object(tuned.source, TOKENIZER_CONFIG).get("chat_template")
    return template.encode() if isinstance(template, str) else None


def _made_here(path: str, layout: Layout) -> bool:
    return path in (CONFIG, INDEX) or path in layout.headers


def _code(config: dict[str, Any]) -> list[str]:
    """Files of code that a config names."""
    named = config.get("auto_map")
    values = named.values() if isinstance(named, dict) else ()
    classes = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return sorted({f"{str(name).rpartition('--')[2].rpartition('.')[0]}.py" for name in classes if name})


def _transformers_knows(config: dict[str, Any]) -> bool:
    """Whether the installed transformers has a class for the model, told without importing it."""
    spec = find_spec("transformers")
    kind = str(config.get("model_type", "")).replace("-", "_")
    if spec is None or not spec.submodule_search_locations or not kind.isidentifier():
        return False
    return (Path(spec.submodule_search_locations[0]) / "models" / kind).is_dir()


def _main_dtype(plan: TransferPlan) -> str | None:
    sizes: Counter[str] = Counter()
    for shard in plan.shards:
        for part in shard.parts:
            if part.is_computed:
                sizes[part.dtype] += part.elements
    return max(sizes, key=sizes.__getitem__, default=None)


def _index(plan: TransferPlan) -> dict[str, Any]:
    tensors = [(tensor, shard.file) for shard in plan.shards for tensor in shard.tensors]
    return weight_index({tensor.name: file for tensor, file in tensors}, sum(tensor.size for tensor, _ in tensors))


def _pretty(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
