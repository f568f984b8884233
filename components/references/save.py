"""A checkpoint from where it is into the store: every byte verified, complete or not there at all."""

import json
from dataclasses import replace

from components.checkpoints import (
    TOKENIZER_CONFIG,
    Checkpoint,
    Layout,
    Source,
    SourceFile,
    canonical_json,
    check_at_rest,
    describe,
    fingerprint,
    read_layout,
)
from components.references.open import open_source
from components.store import CheckpointWriter, Store, copy_files, write_file


def save_checkpoint(reference: str, store: Store) -> Checkpoint:
    """Save the checkpoint that `reference` names; free when the store has it.

    Raises:
        RecycleError: the reference cannot be read, the checkpoint is not sound, or bytes differ from their digest.
    """
    source = open_source(reference)
    layout = read_layout(source)
    # Not its reference: one commit of the hub can have two, and is saved once.
    key = fingerprint(layout)
    saved = store.get_or_create_checkpoint("saved", key, lambda workdir: _save(layout, store.writer(workdir)))
    return saved.model_copy(update={"name": source.name, "origin": source.origin})


def _save(layout: Layout, writer: CheckpointWriter) -> Checkpoint:
    source = layout.source
    tokenizer_config = _with_pad_token(source, layout.files)
    plain = tuple(file for file in layout.files if tokenizer_config is None or file.path != TOKENIZER_CONFIG)
    kept = copy_files(source, plain, writer)
    check_at_rest(layout)
    if tokenizer_config is not None:
        kept += (write_file(writer, TOKENIZER_CONFIG, tokenizer_config),)
    same = source.manifest if tokenizer_config is None else None
    # What was copied is what the layout was read from: its headers need not be read again.
    return describe(
        replace(layout, source=writer.source),
        name=source.name,
        files=kept,
        origin=source.origin,
        derivation=same.derivation if same else None,
    )


def _with_pad_token(source: Source, files: tuple[SourceFile, ...]) -> bytes | None:
    """A tokenizer config that has its end-of-text token as pad token, as the paper's own script saves it.

    Returns:
        None where there is nothing to change.
    """
    if not any(file.path == TOKENIZER_CONFIG for file in files):
        return None
    config = json.loads(source.read(TOKENIZER_CONFIG))
    if config.get("eos_token") is None or config.get("pad_token") is not None:
        return None
    return canonical_json(config | {"pad_token": config["eos_token"]})
