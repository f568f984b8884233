"""A small world of made-up people in which fine-tuning transfer can be seen in a minute.

Bases that read about these people (world, training), fine-tunes that are taught to answer, and a base that no fine-tune
can be moved to (releases); their tokenizer knows every word (tokenizer). `RELEASES` are the names, `build` makes one
with all that it is trained from, `training_conversations` is what fine-tunes learn.

    build("release-1-instruct", Path("demo"), progress=print)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
