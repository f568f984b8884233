"""What tests want to know of a store."""


def checkpoints_in(store):
    """Every checkpoint of a store but those whose manifest is damaged."""
    return [found for digest in store.digests() if (found := store.find(digest))]
