"""What a user may write as a checkpoint's name, and where it leads.

`open_source` takes a folder, a manifest file, `s3://bucket/prefix`, `models:/name@alias`, `family:release`,
`owner/name@revision` on the hub (its cache with HF_HUB_OFFLINE=1) or `demo:name`. `save_checkpoint` brings it into the
store. `families`, `transfers` and `find_transfer` are what has been published, one YAML file a family.

    source = open_source("olmo2-7b:M3")
    saved = save_checkpoint("/models/my-fine-tune", open_store())
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
