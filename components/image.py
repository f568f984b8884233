"""How a step's function becomes a KFP component."""

import functools
import os

from kfp import dsl

from components import __version__

RUNTIME_IMAGE = os.environ.get("RECYCLE_RUNTIME_IMAGE", f"recycle/runtime:{__version__}")

component = functools.partial(dsl.component, base_image=RUNTIME_IMAGE, install_kfp_package=False)
"""Decorator: the image carries this package and everything else, so nothing is installed when a pod starts."""
