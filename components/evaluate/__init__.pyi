from .cached import evaluate_in_store as evaluate_in_store
from .harness import check_harness as check_harness
from .suite import load_suite as load_suite
