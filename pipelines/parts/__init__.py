"""What pipelines are made of: the decorator, what every task of them gets, parameters, checks and resources.

A module of `pipelines` decorates a function with `pipeline` and makes each step a `task`, or a `box` where it is a
pipeline itself. `load_pipeline` finds one by name; resources are chosen when it is built.

    made = load_pipeline("recycle").build(load_resources("gpu"))
    kfp.compiler.Compiler().compile(made, "recycle.yaml")
    for parameter in explained_parameters(load_pipeline("recycle").function):
        print(parameter.name, parameter.default, parameter.explanation)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
