"""Python imports this where its folder is on PYTHONPATH: see tests/support/real_backend.py."""

import sys

if {"pipelines.local.worker", "tests.support.backend_faults"} & set(sys.orig_argv):
    from tests.support import real_backend

    real_backend.apply()
