"""What the other packages need of the machine, with no word about models.

Programs run to their end (`run_program`), checkouts of other projects (`Project`, `probe`), locks between processes
and work done once (`exclusive_lock`, `get_or_create`), files that are complete or absent (`write_durably`,
`publish`), threads that end together (`thread_pool`, `Cancellation`), requests tried again (`retry`), limits of the
container (`usable_cores`, `usable_memory`), and text that is safe to show (`printable`, `escape_markdown`).

    with disk_errors(folder), exclusive_lock(folder, wait=True):
        run_program(["make", "all"], log=folder / "make.log", cwd=folder)
        write_durably(folder / "done", b"")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
