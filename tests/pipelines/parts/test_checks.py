"""What the pipelines with several trainings refuse before anything starts."""

import pytest

from components.errors import BadParameter
from pipelines.parts.catalogue import load_pipeline, parse_parameters


@pytest.mark.parametrize("name", ["grid", "iterative", "recycle-then-finetune"])
def test_the_defaults_run_the_demo(name):
    load_pipeline(name).check(parse_parameters(name, []), here=True)


@pytest.mark.parametrize(
    ("name", "assignment", "said"),
    [
        ("grid", "bases=demo:release-1", "only demo:release-1"),
        ("grid", "bases=llama3:grid", "names no grid"),
        ("grid", "scale=much", "scale"),
        ("grid", "suite=none", "no evaluation suite"),
        ("iterative", "bases=a,b,c,d,e,f", "6 releases"),
        ("iterative", "bases=a,b,a", "a twice"),
        ("iterative", "gate_tolerance=2", "gate_tolerance"),
        ("iterative", "model_name=a/b", "model_name"),
        ("iterative", "recipe=none", "no recipe"),
        ("recycle-then-finetune", "lengths=1", "lengths"),
        ("recycle-then-finetune", "source_base=a", "not given"),
        ("recycle-then-finetune", "transfer=llama3:3.0-to-3.1", "no fine-tuning recipe"),
    ],
)
def test_bad_values_are_refused(name, assignment, said):
    with pytest.raises(BadParameter, match=said):
        load_pipeline(name).check(parse_parameters(name, [assignment]), here=True)
