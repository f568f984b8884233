"""λ as a number or as rules: what is read, how it is spelled, and which tensor gets which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import BadParameter
from components.transfer.scale import Scale, parse_scale

NAMES = ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight")


def numbers(text):
    return list(parse_scale(text).by_name(NAMES).values())


@pytest.mark.parametrize("text", ["0.8", "1", "-1", "0", "-0.0", "1e-30", "1e30", " 2 ", ".5"])
def test_a_number_holds_for_every_tensor(text):
    assert numbers(text) == [float(text)] * 3


def test_the_first_rule_that_matches_holds():
    assert numbers("*.mlp.*=0.8,*=1.0") == [1.0, 0.8, 1.0]
    assert numbers("*q_proj*=3,*layers.0.*=0.5,*=2") == [2.0, 0.5, 3.0]


def test_globs_know_case_brackets_and_question_marks():
    assert numbers("*.layers.[0-3].*=4,*=1") == [1.0, 4.0, 4.0]
    assert numbers("model.layers.?.mlp.*=4,*=1") == [1.0, 4.0, 1.0]
    with pytest.raises(BadParameter, match=r"MLP"):
        numbers("*.MLP.*=4,*=1")


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("1", "1.0"),
        ("1e0", "1.0"),
        ("*=1", "1.0"),
        (" * = 1 ", "1.0"),
        ("1e-3", "0.001"),
        ("a.*=1,*=0.50", "a.*=1.0,*=0.5"),
        (" a.* = 1 , * = .5 ", "a.*=1.0,*=0.5"),
        ("a=-1", "a=-1.0"),
        ("*=1,a=2", "*=1.0,a=2.0"),
    ],
)
def test_equal_scales_have_one_spelling(text, spelled):
    assert str(parse_scale(text)) == spelled


GLOBS = st.text(alphabet="abc.*?[]!-09_", min_size=1, max_size=6)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(GLOBS, FINITE, min_size=1, max_size=4))
def test_the_spelling_reads_back_as_the_same_scale(rules):
    scale = Scale(rules=tuple(rules.items()))
    assert str(parse_scale(str(scale))) == str(scale)
    assert parse_scale(str(scale)) == scale


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' is not a finite number"),
        ("nan", "'nan' is not a finite number"),
        ("inf", "'inf' is not a finite number"),
        ("-1e999", "'-1e999' is not a finite number"),
        ("1_0", "'1_0' is not a finite number"),
        ("1,2", "'1,2' is not a finite number"),
        ("half", "'half' is not a finite number"),
        ("*.mlp.*=", "'' is not a finite number"),
        ("*.mlp.*=high,*=1", "'high' is not a finite number"),
        ("*=nan", "'nan' is not a finite number"),
        ("a=b=c", "'b=c' is not a finite number"),
        ("a=1=2", "'1=2' is not a finite number"),
        ("=1", "'=1' is not a rule"),
        (" =1,*=1", "' =1' is not a rule"),
        ("a=1,", "'' is not a rule"),
        ("a=1,0.5", "'0.5' is not a rule"),
        ("a=1,a=1", "a glob stands twice"),
        ("a=1, a =2,*=1", "a glob stands twice"),
    ],
)
def test_what_is_no_scale_is_refused(text, told):
    with pytest.raises(BadParameter) as caught:
        parse_scale(text)
    assert told in caught.value.problem
    assert repr(text) in caught.value.problem


def test_a_tensor_without_a_rule_is_refused_by_name():
    with pytest.raises(BadParameter, match=r"no rule for the tensor model\.embed_tokens\.weight"):
        numbers("*.layers.*=1")


@pytest.mark.parametrize("text", ["*.experts.*=2,*=1", "*.layers.*=1,*.mlp.*=2,*=1"])
def test_a_rule_that_holds_for_no_tensor_is_refused(text):
    with pytest.raises(BadParameter, match=r"experts|mlp"):
        numbers(text)


def test_a_last_rule_for_the_rest_may_find_nothing_left():
    assert numbers("model.*=2,*=1") == [2.0] * 3


def test_no_tensors_need_no_rules():
    assert parse_scale("a=1").by_name([]) == {}
