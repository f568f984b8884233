"""Finding base releases that a fine-tune was not moved onto yet, each once.

A recurring run polls a location (a hub repository or account, a folder, a bucket) and compares it with a ledger in the
store, which knows every release by the digest of its content and every attempt by its pipeline run. It judges what is
new from headers, takes at most one release, and tells people by a page and a webhook.

`find_new_release` and `record_recycled` are what the steps find-release and record-release do:

    check_watch(releases="hub:org/model@v*", source_base="org/model@v1", source_tuned="me/chat", suite="demo")
    found = find_new_release(WatchRequest(...), run, "page.md")     # one tick, inside a tracked step
    if found.is_there:
        record_recycled(run, Recycled(...), releases=..., ledger=found.ledger, release=found.release)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
