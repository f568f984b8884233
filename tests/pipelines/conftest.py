import sys
from types import SimpleNamespace

import pytest
from kfp.dsl import pipeline_task

from tests.support import real_backend
from tests.support.fake_kfp import kfp  # noqa: F401 - a fixture of this folder
from tests.support.fake_kubernetes import kubernetes  # noqa: F401 - a fixture of this folder


@pytest.fixture(scope="session", autouse=True)
def _quick_stack():
    """Spare kfp the source of the whole stack, which it reads at each setting of a task for the name of one method.

    Within pytest, with all modules that tests import, that takes a pipeline of 50 tasks from one second to ten.
    """

    def stack():
        frame = sys._getframe(2)
        return [None, (frame, "", 0, frame.f_code.co_name, None, None)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_task, "inspect", SimpleNamespace(stack=stack))
        yield


@pytest.fixture(scope="session", autouse=True)
def _as_on_a_cluster():
    """Have every `recycle run` of these tests pass artifacts and parameters as KFP's back end does."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in real_backend.environment().items():
            patch.setenv(name, value)
        yield
