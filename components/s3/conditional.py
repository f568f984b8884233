"""Whether an S3 server keeps its word about conditional writes, on which two writers of one checkpoint rely.

A server that does not know `If-None-Match` may ignore it, and then both of them would win.
"""

from functools import cache

from components.errors import BadParameter
from components.s3.bucket import Bucket
from components.s3.client import site
from components.s3.retries import AlreadyThere

MARKER = "results/server/if-none-match"
"""The object that is tried, where every writer may write. It stays: nobody needs the right to delete it."""
CONTENT = b"Written only where there was nothing, to see whether the server knows If-None-Match.\n"


def require_conditional_writes(store: Bucket) -> None:
    """Refuse a server that writes over what is there though it is asked not to.

    It takes one request a process, and one more for the first process of a store.

    Raises:
        BadParameter: the server ignores `If-None-Match`.
    """
    _checked(site(), store)


@cache
def _checked(server: str, store: Bucket) -> None:
    for _ in range(2):  # the first may be the first of all, and then there was nothing
        try:
            store.put(MARKER, CONTENT, new=True)
        except AlreadyThere:
            return
    raise BadParameter(
        f"{server} ignores If-None-Match: it wrote over {store.uri}/{MARKER} though it was asked to write only where "
        "nothing is, so two writers of one checkpoint could both win",
        hint="keep the store on a server that has conditional writes, such as MinIO or AWS S3, or in a folder",
    )
