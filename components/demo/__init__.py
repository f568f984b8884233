"""A small world of made-up people in which fine-tuning transfer can be seen in a minute."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
