from fake_kfp import kfp  # noqa: F401 - a fixture of this folder
from fake_kubernetes import kubernetes  # noqa: F401 - a fixture of this folder
