"""What Recycle does with a store in a bucket, one piece of work a run.

python store.py {save,transfer,fetch} OUTPUT REFERENCE...
"""

import sys
from pathlib import Path

from components.references.save import save_checkpoint
from components.store.locate import local_copy
from components.store.store import open_store
from components.transfer.scale import parse_scale
from components.transfer.shards import ROLES
from components.transfer.transfer import transfer_in_store


def main() -> None:
    work, output, *references = sys.argv[1:]
    store = open_store()
    Path(output).mkdir()
    saved = [save_checkpoint(reference, store) for reference in references]
    if work == "transfer":
        transfer_in_store(dict(zip(ROLES, saved, strict=True)), scale=parse_scale("1.0"), dtype="auto", store=store)
    elif work == "fetch":
        with local_copy(saved[0], store) as folder:
            print(folder)


main()
