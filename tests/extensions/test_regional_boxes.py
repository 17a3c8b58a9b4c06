"""Boxes as text: what can be written, and in which words the rest is refused."""

import pytest

from extensions.regional.boxes import Box, read_boxes
from extensions.regional.options import Options
from webui.extension import InvalidRequest


def test_a_line_is_a_box_and_its_weight_may_be_left_out():
    text = "0 0 0.5 1: a red apple\n\n  0.5 0 .5 1 1.5 :  (a banana:1.2), ripe  "
    assert read_boxes(text) == (
        Box(0, 0, 0.5, 1, 1, "a red apple"),
        Box(0.5, 0, 0.5, 1, 1.5, "(a banana:1.2), ripe"),
    )


def test_a_not_line_is_the_negative_prompt_of_the_box_above_it():
    first, second = read_boxes("0 0 1 1: a cat\nnot: a dog\n0 0 1 1: not: a cat")
    assert first.negative_prompt == "a dog"
    assert (second.prompt, second.negative_prompt) == ("not: a cat", None)


def test_no_lines_are_no_boxes():
    assert read_boxes(" \n\n") == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 0 1 1 a cat", "Line 1 of the boxes has no colon"),
        ("0 0 1 1: a\n0 0 1: b", "Line 2 of the boxes does not begin with four or five numbers"),
        ("a b c d: e", "Line 1 of the boxes does not begin with four or five numbers"),
        ("0 0 1 1 1 1: e", "Line 1 of the boxes does not begin with four or five numbers"),
        ("0.6 0 0.5 1: a", "The box of line 1 does not lie in the picture"),
        ("-0.1 0 0.5 1: a", "The box of line 1 does not lie in the picture"),
        ("0 0 0 1: a", "The box of line 1 does not lie in the picture"),
        ("nan 0 1 1: a", "The box of line 1 does not lie in the picture"),
        ("0 0 1 1 -1: a", "The weight in line 1 of the boxes must be between 0 and 5"),
        ("0 0 1 1 nan: a", "The weight in line 1 of the boxes must be between 0 and 5"),
        ("not: a", "Line 1 of the boxes is a “not:” without a box"),
        ("0 0 1 1: a\nnot: b\nnot: c", "Line 3 of the boxes is a “not:” without a box"),
        ("0 0 1 1: a\n" * 17, "There are 17 boxes; 16 are possible."),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_line(text: str, told: str):
    with pytest.raises(InvalidRequest, match=told.replace("“", ".").replace("”", ".")):
        Options(boxes=text)
