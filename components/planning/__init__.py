"""A run's request, checked and looked at before anything big moves.

A `TransferRequest` is what `recycle` and its like are asked, a `BasesRequest` what `grid` and `iterative` are. Each is
completed from a published transfer or grid, or from the demo, and checked value by value. A preview then reads the
checkpoints' headers and a sample of their weights: it pins names to commits, proves the checkpoints compatible and says
what the run needs. The first step of a run does all of it (`resolve_transfer`, `resolve_bases`).

    request = TransferRequest(transfer="llama3:3.0-to-3.1", scale=parse_scale("1")).complete()
    request.check()
    found = preview_transfer(request)
    print(found.forecast, found.scratch_needed)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
