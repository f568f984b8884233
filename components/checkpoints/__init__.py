"""The format of a checkpoint: which files it has, what their headers say, and the manifest that names its content.

A `Source` gives the files, wherever they are. `read_layout` reads config, index, safetensors headers and tokenizer from
it, which is kilobytes, and refuses what is not sound. A `Checkpoint` is the manifest: files with their digests, dtypes,
architecture, origin and derivation; it travels between steps in place of the weights. `describe` makes one of digests
that are known, `identify` by reading every byte.

    from components.sources import FolderSource

    layout = read_layout(FolderSource(path=folder))
    print(layout.architecture, layout.parameters, layout.dtypes)
    checkpoint = identify(layout)
    (folder / MANIFEST).write_bytes(checkpoint.to_json())
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
