"""What is to be expected of a transfer, before anything is evaluated.

From a sample of the weights: how far apart the bases are (`sampled_relative_gap`) and whether the three belong together
(`sample_belonging`). From the transfer's statistics: the same over all weights. From forward passes: the loss along the
line between the bases (`forecast_in_store`). Each gives a `Forecast` with a verdict, a number and the reason.

    plan = plan_transfer(source_base=base, source_tuned=tuned, target_base=target, scale=scale, dtype="auto")
    found = sample_belonging(plan)
    print(forecast_by_gap(found.gap, found.findings()))     # likely (closeness 0.86)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
