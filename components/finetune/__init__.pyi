from .cached import finetune_in_store as finetune_in_store
from .data.dataset import check_dataset as check_dataset
from .open_instruct.checkout import check_trainer as check_trainer
from .recipe import check_has_steps as check_has_steps
from .recipe import load_recipe as load_recipe
from .recipe import shortened as shortened
