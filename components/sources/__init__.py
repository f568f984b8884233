"""Where checkpoints are read from: a folder, a prefix of a bucket, or a repository of the Hugging Face Hub.

`FolderSource`, `S3Source` and `HubSource` are each a `components.checkpoints.Source`: they list files and read ranges
of them, so that nothing is downloaded that is not needed. A revision of the hub is resolved to a commit first, which
all later requests name. `list_hub` reads the lists of the hub's API.

    source = HubSource.open("allenai/OLMo-2-0425-1B@main")
    print(source.reference, source.origin["commit"])
    config = source.read("config.json")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
