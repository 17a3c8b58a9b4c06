"""Weights and BREAK: AUTOMATIC1111's vectors, and what differs on purpose."""

import pytest

from webui.prompt.limits import MAX_WEIGHT
from webui.prompt.weights import Piece, sections


def pieces(text):
    """The pieces of a text without BREAK."""
    (section,) = sections(text)
    return [(piece.text, pytest.approx(piece.weight)) for piece in section]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [("a ", 1), ("house", 1.573), (" ", 1.1), ("on", 1), (" a ", 1.1), ("hill", 0.55), (", sun, ", 1.1),
             ("sky", 1.4641), (".", 1.1)],
        ),
        ("", [("", 1)]),
        ("()", [("", 1)]),
        ("[]", [("", 1)]),
        ("(a:1.5", [("a:1.5", 1.1)]),
        ("(a:-1)", [("a", -1)]),
        ("(a:.5)", [("a", 0.5)]),
        ("(a: 1.3 )", [("a", 1.3)]),
        ("(foo:1.2:3)", [("foo:1.2", 3)]),
        ("[a:1.2]", [("a:1.2", 1 / 1.1)]),
        ("((a))", [("a", 1.21)]),
        ("[[a]]", [("a", 1 / 1.21)]),
        ("([a])", [("a", 1)]),
        ("(a [b] c)", [("a ", 1.1), ("b", 1), (" c", 1.1)]),
        ("a) b]", [("a) b]", 1)]),
        (r"\(a\) \[b\] \\ (c\:1.2)", [(r"(a) [b] \ ", 1), ("c:1.2", 1.1)]),
        (r"C:\new", [("C:new", 1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 1 / 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
    ],
)  # fmt: skip
def test_pieces_and_weights_are_automatic1111s(text, expected):
    assert pieces(text) == expected


def test_brackets_that_cancel_weigh_exactly_one():
    assert sections("a (([[b]])) ([c])") == ((Piece("a b c"),),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a BREAK b", [["a"], ["b"]]),
        ("a, BREAK ,b", [["a,"], [",b"]]),
        ("x BREAK", [["x"], [""]]),
        ("BREAKfast break", [["BREAKfast break"]]),
        ("a\nBREAK\nBREAK b", [["a"], [""], ["b"]]),
    ],
)
def test_break_is_a_word_of_its_own_and_takes_the_spaces_around_it(text, expected):
    assert [[piece.text for piece in section] for section in sections(text)] == expected


def test_break_in_a_weighted_bracket_still_breaks():
    assert sections("(a BREAK b:1.3)") == ((Piece("a", 1.3),), (Piece("b", 1.3),))
    assert sections("(a:-1)BREAK(b:-1)") == ((Piece("a", -1),), (Piece("b", -1),))


def test_emphasis_none_takes_everything_literally():
    assert sections(r"(a:1.2) BREAK \(b", "None") == ((Piece(r"(a:1.2) BREAK \(b"),),)


@pytest.mark.parametrize("text", ["(" * 9_000 + "a", "(a:" + "9" * 400 + ")", "((a:0):" + "9" * 400 + ")", "[" * 9_000])
def test_no_weight_is_beyond_what_half_precision_holds(text):
    for piece in sections(text)[0]:
        assert abs(piece.weight) <= MAX_WEIGHT
