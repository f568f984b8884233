"""The script that prints the forecast's table runs, on releases that were cut short."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.demo import releases

SCRIPT = Path(__file__).with_name("calibrate.py")


@pytest.mark.slow
def test_the_table_is_printed(tmp_path):
    for name in ("release-1", "release-2", "release-1-instruct"):
        releases.build(name, tmp_path / "demo", progress=lambda line: None, most_steps=1)
    targets = ["release-2", "0.1 of the hidden units moved", "0.5 of the MLP units moved"]
    printed = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, *targets],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert [line.split("|")[1].strip() for line in printed[2:]] == targets
    assert {len(line.split("|")) for line in printed} == {9}
    assert {line.split("|")[6].strip() for line in printed[2:]} == {"0"}, "nothing was learned in one step"
