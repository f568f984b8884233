"""The client of an S3 server: MinIO, AWS or another, as the environment names it.

A `Bucket` is a prefix of a bucket, and all keys are relative to it. Every request is tried again where that may help,
for about a minute; what comes back is checked, and what goes wrong in the end is told as a RecycleError, as `Absent` or
as `AlreadyThere`. `put(..., new=True)` and `put(..., replaces=etag)` let one of several writers win; that the server
keeps this promise is proved by `require_conditional_writes`.

    bucket = Bucket.at("s3://models/recycle")
    bucket.put("notes/a", b"text", new=True)  # raises AlreadyThere where there is one
    print([entry.key for entry in bucket.objects("notes/")], bucket.get("notes/a"))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
