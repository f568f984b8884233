from .run import RunResult as RunResult
from .run import run_pipeline as run_pipeline
