"""AND, tags and comments: what is cut out of a prompt before it is scheduled."""

import pytest

from webui.errors import InvalidRequest
from webui.prompt.comments import without_comments
from webui.prompt.composition import Part, parts
from webui.prompt.limits import MAX_PARTS, MAX_WEIGHT
from webui.prompt.tags import Tag, take_tags


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a AND b", [("a", 1), (" b", 1)]),
        ("a :1.2 AND b:0.5", [("a", 1.2), (" b", 0.5)]),
        ("a AND b :-1", [("a", 1), (" b", -1)]),
        ("aANDb", [("aANDb", 1)]),
        ("a and b", [("a and b", 1)]),
        ("a:1.2 b AND c", [("a:1.2 b", 1), (" c", 1)]),
        ("x AND ", [("x", 1), ("", 1)]),
        ("AND", [("", 1), ("", 1)]),
        ("a : .5  AND b:1.", [("a", 0.5), (" b", 1)]),
    ],
)
def test_parts_and_weights_are_automatic1111s(prompt, expected):
    assert parts(prompt) == tuple(Part(text, weight) for text, weight in expected)


@pytest.mark.parametrize("prompt", ["a cat :3", "ratio 16:9", "a:1.2"])
def test_a_number_at_the_end_is_text_where_nothing_is_joined(prompt):
    assert parts(prompt) == (Part(prompt),)


def test_more_parts_than_a_step_can_bear_are_refused():
    assert len(parts(" AND ".join(["a"] * MAX_PARTS))) == MAX_PARTS
    with pytest.raises(InvalidRequest, match="65 parts"):
        parts(" AND ".join(["a"] * (MAX_PARTS + 1)))


def test_the_weight_of_a_part_has_a_limit():
    assert parts("a AND b:" + "9" * 400)[1].weight == MAX_WEIGHT


@pytest.mark.parametrize(
    ("prompt", "text", "tags"),
    [
        ("a <lora:foo:0.8> b", "a  b", [Tag("lora", "foo", ("0.8",))]),
        ("<lora:foo>", "", [Tag("lora", "foo")]),
        ("<lora:foo:0.8:0.5>", "", [Tag("lora", "foo", ("0.8", "0.5"))]),
        ("<lora:foo:te=0.8:unet=0.2>", "", [Tag("lora", "foo", (), {"te": "0.8", "unet": "0.2"})]),
        ("<hypernet:h:1><lyco:x:1>,", ",", [Tag("hypernet", "h", ("1",)), Tag("lyco", "x", ("1",))]),
        ("<lora:../../etc/passwd:1>", "", [Tag("lora", "../../etc/passwd", ("1",))]),
        ("a <lora:foo:0.8:0.5> b <foo> < lora:x:1>", "a  b <foo> < lora:x:1>", [Tag("lora", "foo", ("0.8", "0.5"))]),
        ("<lora:a <lora:b:1>", "", [Tag("lora", "a <lora", ("b", "1"))]),
        ("<lora:a:1> <lora:b", " <lora:b", [Tag("lora", "a", ("1",))]),
    ],
)
def test_tags_are_taken_out_and_no_space_is_touched(prompt, text, tags):
    assert take_tags(prompt) == (text, tuple(tags))


@pytest.mark.parametrize("prompt", ["< lora:foo:1>", "<lora :foo:1>", "<foo>", "<:x>", "a < b: c > d", "<lora:>", "x"])
def test_what_only_looks_like_a_tag_stays(prompt):
    assert take_tags(prompt) == (prompt, ())


def test_the_name_of_a_tag_may_hold_an_equals_sign():
    assert take_tags("<lora:a=b:1>")[1] == (Tag("lora", "a=b", ("1",)),)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a # b", "a \n"),
        ("# c\na", "\na"),
        ("a\n# c\nb", "a\nb"),
        ("a, #ff0000 hair", "a, \n"),
        ("https://x /* y */", "https://x /* y */"),
        (r"a, \#ff0000 hair # red", "a, \\#ff0000 hair \n"),
    ],
)
def test_comments_go_from_their_sign_to_the_end_of_the_line(prompt, expected):
    assert without_comments(prompt) == expected
