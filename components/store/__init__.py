"""The checkpoint store: finished checkpoints by the digest of their content, and small documents by kind and key.

`open_store` gives the `Store` of RECYCLE_STORE, in a folder or in a bucket. A checkpoint is written through a
`CheckpointWriter`, file by file, and a rerun goes on where an earlier try was killed; `publish` makes it visible,
complete or not at all, and once whoever else publishes the same content. `get_or_create_checkpoint` and
`get_or_create_document` do work that was not done before. `open_checkpoint` and `local_copy` lead from a manifest to
the files; `Store.garbage` finds what work left behind that was broken off.

    def save(workdir: Path) -> Checkpoint:
        writer = store.writer(workdir)
        files = copy_files(layout.source, layout.files, writer)
        return describe(read_layout(writer.source), name="model", files=files, origin={})

    checkpoint = store.get_or_create_checkpoint("saved", fingerprint(layout), save)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
