import pytest

from components.errors import BadParameter
from components.planning.lengths import parse_lengths, trainings


def test_lengths_are_shares_shortest_first():
    assert parse_lengths("0.5, 0.125,0.25,") == (0.125, 0.25, 0.5)


@pytest.mark.parametrize("text", ["", " , ", "0", "1", "1.5", "-0.5", "nan", "inf", "half", "0.5,0.5", "0.5;0.25"])
def test_what_is_no_list_of_shares_is_refused(text):
    with pytest.raises(BadParameter, match="lengths is"):
        parse_lengths(text)


def test_each_training_has_a_name_of_its_own():
    assert trainings("recycled", "0.125,0.5") == [
        {"label": "recycled at 12.5 percent", "share": 0.125},
        {"label": "recycled at 50 percent", "share": 0.5},
    ]
