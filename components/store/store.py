"""The checkpoint store that the environment names."""

import re
from pathlib import Path
from urllib.parse import unquote

from components import settings
from components.errors import BadParameter
from components.s3 import Bucket
from components.store.base import Store
from components.store.folder.store import FolderStore
from components.store.s3.store import S3Store


def open_store() -> Store:
    """Open the store that RECYCLE_STORE names.

    Raises:
        BadParameter: it is of a kind this version does not have.
        BadReference: it is no address in a bucket.
    """
    uri = settings.store_uri()
    if uri.startswith("s3://"):
        return S3Store(Bucket.at(uri))
    scheme = re.match(r"[A-Za-z][\w+.-]*://", uri)
    if scheme and not uri.startswith("file://"):
        raise BadParameter(  # without the rest, which may hold a password
            f"RECYCLE_STORE begins with {scheme[0]!r}; checkpoints are kept in folders and in buckets",
            hint="name a folder, or s3://bucket/prefix",
        )
    return FolderStore(root=Path(unquote(uri.removeprefix("file://")) if scheme else uri).expanduser().absolute())
