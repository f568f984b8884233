"""How a step's function becomes a KFP component."""

import functools

from kfp import dsl

from components import __version__

component = functools.partial(dsl.component, base_image=f"recycle/runtime:{__version__}", install_kfp_package=False)
"""Decorator: the image carries this package and everything else, so nothing is installed when a pod starts."""
