"""Pipelines that `kfp.local` runs well and KFP's back end does not: `python -m tests.support.backend_faults NAME ROOT`.

With tests/support/startup on PYTHONPATH they run by the back end's rules (see real_backend.py) and fail here too.
"""

import functools
import sys
from typing import List, Optional  # noqa: UP035 - the form that KFP reads

from kfp import dsl, local
from kfp.dsl import Artifact, Input, Output

component = functools.partial(dsl.component, install_kfp_package=False)


@component
def make(number: int, made: Output[Artifact]):
    made.metadata["number"] = number


@component
def count(things: Input[List[Artifact]], expected: int):  # noqa: UP006
    assert len(things) == expected, f"{len(things)} artifacts arrived"


@component
def take_two(one: Input[Artifact], other: Input[Artifact]):
    assert one.uri == other.uri


@component
def take_optional(thing: Optional[Input[Artifact]] = None):  # noqa: UP045
    assert thing is not None


@component
def take_default(thing: Input[Artifact] = None):
    assert thing is not None


@component
def take_list(things: list):
    assert things


@component
def take_text(text: str):
    assert text


@component
def flagged(made: Output[Artifact], kind: str):
    made.metadata["flag"] = {"bool": True, "none": None, "list": [1, 2]}[kind]


@component
def same_flag(made: Input[Artifact], kind: str):
    found = made.metadata["flag"]
    assert found is True if kind == "bool" else found == [1, 2], f"the flag is {found!r}"


@component
def elsewhere(made: Output[Artifact]):
    made.uri = "s3://another/bucket"


@component
def records() -> list:
    return [{"label": "one"}, {"label": "two"}]


@dsl.pipeline
def counts(things: Input[List[Artifact]], expected: int):  # noqa: UP006
    count(things=things, expected=expected)


@dsl.pipeline
def takes_two(one: Input[Artifact], other: Input[Artifact], expected: int):
    take_two(one=one, other=other)


@dsl.pipeline
def each_list(items: list):
    with dsl.ParallelFor(items) as item:
        take_list(things=item.label)


@dsl.pipeline
def each_missing(items: list):
    with dsl.ParallelFor(items) as item:
        take_text(text=item.title)


@dsl.pipeline(name="fault")
def list_into_nested():
    with dsl.ParallelFor([1, 2, 3]) as number:
        made = make(number=number)
    counts(things=dsl.Collected(made.outputs["made"]), expected=3)


@dsl.pipeline(name="fault")
def list_beside():
    with dsl.ParallelFor([1, 2, 3]) as number:
        made = make(number=number)
    count(things=dsl.Collected(made.outputs["made"]), expected=3)


@dsl.pipeline(name="fault")
def two_names_into_nested():
    made = make(number=1).outputs["made"]
    takes_two(one=made, other=made, expected=1)


@dsl.pipeline(name="fault")
def optional_artifact():
    take_optional(thing=make(number=1).outputs["made"])


@dsl.pipeline(name="fault")
def default_artifact():
    take_default(thing=make(number=1).outputs["made"])


@dsl.pipeline(name="fault")
def text_for_a_list():
    each_list(items=records().output)


@dsl.pipeline(name="fault")
def missing_field():
    each_missing(items=records().output)


@dsl.pipeline(name="fault")
def bool_in_metadata():
    same_flag(made=flagged(kind="bool").outputs["made"], kind="bool")


@dsl.pipeline(name="fault")
def list_in_metadata():
    same_flag(made=flagged(kind="list").outputs["made"], kind="list")


@dsl.pipeline(name="fault")
def none_in_metadata():
    flagged(kind="none")


@dsl.pipeline(name="fault")
def artifact_elsewhere():
    elsewhere()


if __name__ == "__main__":
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
    globals()[sys.argv[1]]()
