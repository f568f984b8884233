"""Local runs by the rules of KFP's back end: each fault that the plain local runner does not see fails there."""

import os
import subprocess
import sys

import pytest

from tests.support import real_backend

FAULTS = {
    "list_into_nested": "1 artifacts arrived",
    "two_names_into_nested": "parent DAG does not have input artifact o",  # `one` or `other`, whichever comes last
    "optional_artifact": "Cannot instantiate typing.Union",
    "text_for_a_list": "input parameter 'things' type mismatch: expect LIST, got 'one'",
    "missing_field": """expression selector 'parseJson(string_value)["title"]' failed""",
    "bool_in_metadata": "the flag is 1",
    "list_in_metadata": "the flag is {'list': [1",
    "none_in_metadata": "unknown/unsupported value type",
    "artifact_elsewhere": "does not have expected bucket prefix",
}
"""What each says that fails by the back end's rules and runs without them."""


def run(name, root, *, by_the_rules):
    folders = [real_backend.STARTUP, real_backend.ROOT] if by_the_rules else [real_backend.ROOT]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    program = [sys.executable, "-m", "tests.support.backend_faults", name, str(root)]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_only_a_cluster_sees_fails_here_too(name, tmp_path):
    plain = run(name, tmp_path, by_the_rules=False)
    assert plain.returncode == 0, plain.stdout + plain.stderr
    strict = run(name, tmp_path, by_the_rules=True)
    assert strict.returncode != 0
    assert FAULTS[name] in strict.stdout + strict.stderr


@pytest.mark.parametrize("name", ["list_beside", "default_artifact"])
def test_what_a_cluster_takes_runs(name, tmp_path):
    done = run(name, tmp_path, by_the_rules=True)
    assert done.returncode == 0, done.stdout + done.stderr
