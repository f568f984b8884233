"""A base fine-tuned on conversations by a recipe, with TRL or Open-Instruct.

A recipe is a YAML file in `recipes/`, or the user's own: the trainer, the dataset and the hyperparameters.
`load_recipe` reads it, `shortened` gives a training over a share of its steps, `check_trainer` and `check_dataset`
refuse what could not be trained, and `finetune_in_store` trains, or finds what the same training made before.

    recipe = load_recipe("tulu3-sft")
    check_trainer(recipe)
    tuned = finetune_in_store(base, recipe, "hub:allenai/tulu-3-sft-mixture@main", open_store(), tracker)

The result has the file names, tensor names and shapes of its base, so that a transfer can subtract the two.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
