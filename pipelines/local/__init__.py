"""Pipelines on this machine, without a cluster.

`run_pipeline` starts a worker process that runs the pipeline's own function through `kfp.local`, reads the events that
steps write to their log, and says each step's start, end and notes. Artifacts, the log and the reports stay in a folder
under RECYCLE_HOME. `RunResult` is what a run came to, also for runs on a cluster:

    result = run_pipeline("recycle", parse_parameters("recycle", ["scale=0.5"]), say=print)
    result.lines()              # table, gate, registered version, report
    result.outcome["passed"]
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
