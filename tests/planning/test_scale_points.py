import pytest

from components.errors import BadParameter
from components.planning.scale_points import quick_suite, search_points
from components.transfer.scale import parse_scale


def test_numbers_become_points():
    assert search_points("0.5, 1.50", parse_scale("1")) == [
        {"scale": "0.5", "role": "recycled at λ 0.5"},
        {"scale": "1.5", "role": "recycled at λ 1.5"},
    ]


def test_nothing_is_searched_by_default():
    assert search_points("", parse_scale("*.mlp.*=0.8,*=1.0")) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0.5", "has 1 of them"),
        ("0.1,0.2,0.3,0.4,0.5,0.6", "has 6 of them"),
        ("0.5,0.5", "one twice"),
        ("0.5,5e-1", "one twice"),
        ("0.5,1.0", "1, which scale tries already"),
        ("0,0.5", "not above 0"),
        ("-1,0.5", "not above 0"),
        ("0.5,4.1", "at most 4"),
        ("0.5,1e999", "at most 4"),
        ("0.5,nan", "no list of numbers"),
        ("0.5,inf", "no list of numbers"),
        ("0.5,,1.5", "no list of numbers"),
        ("0.5,1.5,", "no list of numbers"),
        ("0.5,1_0", "no list of numbers"),
        ("0.5,e", "a part that is no number"),
        ("0.5,'1.5'", "no list of numbers"),
        ("0.5\n,1.5", "no list of numbers"),
        ("0.5,٢", "no list of numbers"),
        (" ", "a part that is no number"),
    ],
)
def test_what_is_no_search_is_refused(text, problem):
    with pytest.raises(BadParameter, match=problem):
        search_points(text, parse_scale("1"))


def test_a_scale_by_tensor_name_cannot_be_searched():
    with pytest.raises(BadParameter, match="rules by tensor name"):
        search_points("0.5,1.5", parse_scale("*.mlp.*=0.8,*=1.0"))


def test_the_quick_sample_of_a_suite():
    assert quick_suite("olmes-instruct") == "olmes-instruct-quick"
    assert quick_suite("demo") == "demo"
    assert quick_suite("olmes-base-quick") == "olmes-base-quick"
    assert quick_suite("/home/me/mine.yaml") == "/home/me/mine.yaml"
