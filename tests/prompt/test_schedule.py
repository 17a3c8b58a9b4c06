"""Prompts that change on the way: AUTOMATIC1111's vectors for both passes, old timelines, and odd brackets."""

from itertools import pairwise

import pytest

from webui.errors import InvalidRequest
from webui.prompt.limits import MAX_CHARACTERS_OF_STEPS
from webui.prompt.schedule import clock, schedule


def entries(text, steps=10, **options):
    return list(schedule(text, clock(steps, **options)))


def at_each_step(text, steps=10, **options):
    """What the text says at steps 1, 2, …"""
    begin, said = 0, []
    for until, words in entries(text, steps, **options):
        said += [words] * (until - begin)
        begin = until
    return said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("test", [(10, "test")]),
        ("", [(10, "")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a:b:0.5]", [(5, "a"), (10, "b")]),
        ("[a::0.5]", [(5, "a"), (10, "")]),
        ("[:b:0.5]", [(5, ""), (10, "b")]),
        ("[a:b:15]", [(10, "a")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:1]", [(1, "a"), (10, "b")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[a:b]", [(10, "[a:b]")]),
        ("[a]", [(10, "[a]")]),
        ("[a:b:c:5]", [(10, "[a:b:c:5]")]),
        ("(a:[b:c:5])", [(5, "(a:b)"), (10, "(a:c)")]),
        (
            "fantasy [mountain:lake:0.25] [an oak:a tree:0.75]",
            [(2, "fantasy mountain an oak"), (7, "fantasy lake an oak"), (10, "fantasy lake a tree")],
        ),
        (r"\[a:b:5\] [c:d:5]", [(5, r"\[a:b:5\] c"), (10, r"\[a:b:5\] d")]),
        ("[a:b:" + "9" * 400 + "] [c:d:-1e999]", [(10, "a d")]),
    ],
)
def test_editing_is_automatic1111s(text, expected):
    assert entries(text) == expected


def test_the_example_of_the_family_changes_at_its_five_steps():
    text = (
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
        "[ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]"
    )
    assert entries(text, 100) == [
        (25, "fantasy landscape with a mountain and an oak in foreground shoddy"),
        (50, "fantasy landscape with a lake and an oak in foreground in background shoddy"),
        (60, "fantasy landscape with a lake and an oak in foreground in background masterful"),
        (75, "fantasy landscape with a lake and an oak in background masterful"),
        (100, "fantasy landscape with a lake and a christmas tree in background masterful"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a|(b:1.1)]", ["a", "(b:1.1)"] * 5),
        ("[fe|]male", ["female", "male"] * 5),
        ("[fe|||]male", ["female", "male", "male", "male"] * 2 + ["female", "male"]),
        ("[|a]", ["", "a"] * 5),
        ("[a|b|c]", [*"abcabcabca"]),
        ("[a|[b:c:5]]", [*"ababacacac"]),
        ("[[a|b]:c:4]", [*"ababcccccc"]),
        ("[a|[b|c]]", [*"acacacacac"]),
    ],
)
def test_alternation_takes_turns_at_every_step(text, expected):
    assert at_each_step(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [b:.5] c", [(10, "a b c")]),
        ("[b:1.5]", [(5, ""), (10, "b")]),
        ("[b:15]", [(5, ""), (10, "b")]),
        ("[b:5]", [(10, "b")]),
        ("[b:2.0]", [(10, "")]),
    ],
)
def test_the_hires_pass_goes_on_where_the_first_pass_ended(text, expected):
    assert entries(text, 10, hires_steps=10) == expected


def test_alternation_begins_anew_in_the_hires_pass():
    assert at_each_step("[a|b]", 3, hires_steps=4) == [*"abab"]


def test_old_timelines_read_numbers_below_one_as_shares_and_are_alike_in_both_passes():
    for options in ({}, {"hires_steps": 30}):
        assert entries("[a:b:1.0]", old_timelines=True, **options) == [(1, "a"), (10, "b")]
        assert entries("[a:b:.5]", old_timelines=True, **options) == [(5, "a"), (10, "b")]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a | b [c:d:5]", "a | b c"),
        ("(a|b) [c:d:5]", "(a|b) c"),
        ("[a:b|c] [c:d:5]", "[a:b|c] c"),
        ("x\\\n[c:d:5]", "x\\\nc"),
        ("[c:d:5] \\", "c \\"),
        ("[x:[a:b:1:2] [c:d:5]:3]", "[x:[a:b:1:2] c:3]"),
        ("(a [b) [c:d:5] ]", "(a [b) c ]"),
    ],
)
def test_an_odd_sign_is_text_and_switches_off_nothing_else(text, first):
    assert entries(text) == [(5, first), (10, first.replace("c", "d") if "|c" not in first else "[a:b|c] d")]


def test_ends_grow_and_the_last_is_the_last_step():
    ends = [until for until, _ in entries("[a|b] [c:d:3] [e:f:0.9]")]
    assert all(before < after for before, after in pairwise(ends))
    assert ends[-1] == 10


def test_changes_that_need_too_much_text_are_refused():
    long = "x" * (MAX_CHARACTERS_OF_STEPS // 100)
    assert len(entries(long + "[a|b]", 150)) == 150
    with pytest.raises(InvalidRequest, match="changes so often"):
        entries(long + "[" + "|".join(map(str, range(150))) + "]", 150)
