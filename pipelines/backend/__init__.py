"""A client of Kubeflow Pipelines (KFP 2.17) and of the cluster under it.

`connect` reaches a KFP through its address or through kubectl's cluster, `connect_cluster` that cluster itself, where
there is a kubeconfig. `compiled` and `submit` start a run of a pipeline as it is here, `follow` shows its steps until
it ends; `upload`, `schedule` and `runs` are the commands of those names:

    api = connect("http://localhost:8888", "kubeflow")
    submitted = submit(api, compiled("recycle", load_resources("cpu")), parameters, experiment="recycle")
    result = follow(api, submitted.run.run_id, print, cluster=None)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
