"""Wildcards: the same seed gives the same words, and nothing can hang."""

import time
from collections import Counter

import pytest

from webui.errors import InvalidRequest, UnknownName
from webui.prompt.limits import MAX_CHARACTERS
from webui.prompt.wildcards import expand, may_be_drawn

COLOURS = {"colour": ["red", "green", "blue", "black", "white"], "thing": ["__colour__ cat", "__colour__ dog"]}


def test_a_wildcard_becomes_one_of_its_lines():
    said = {expand("a __colour__ fox", COLOURS, f"{seed}") for seed in range(60)}
    assert said == {f"a {colour} fox" for colour in COLOURS["colour"]}


def test_the_same_key_gives_the_same_words_whatever_follows():
    first = expand("__colour__ __thing__", COLOURS, "7")
    assert first == expand("__colour__ __thing__", COLOURS, "7")
    assert expand("__colour__ __thing__ __colour__", COLOURS, "7").startswith(first)


def test_what_a_seed_chooses_never_changes():
    """Pictures of older versions come back: these words were chosen by the first one."""
    assert [expand("__thing__", COLOURS, str(seed)) for seed in range(4)] == [
        "green cat", "red cat", "black dog", "white dog",
    ]  # fmt: skip


def test_lines_may_hold_wildcards_again():
    words = expand("__thing__", COLOURS, "1").split()
    assert words[0] in COLOURS["colour"]
    assert words[1] in ("cat", "dog")


@pytest.mark.parametrize("prompt", ["____", "__ a __", "a_b", r"\__colour__", "__", "o_o", "__-x__"])
def test_what_is_no_wildcard_stays(prompt):
    assert expand(prompt, COLOURS, "1") == prompt


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match=r"'color'.*colour, thing"):
        expand("__color__", COLOURS, "1")


@pytest.mark.parametrize(
    ("wildcards", "words"),
    [
        ({"a": ["__a__"]}, "leads to itself"),
        ({"a": ["x __b__"], "b": ["__a__"]}, "leads to itself"),
        ({"a": ["__a__ __a__"]}, "leads to itself"),
        ({"a": ["__b__" * 200], "b": ["__c__" * 200], "c": ["x"]}, "more than"),
        ({"a": ["__b__" * 200], "b": ["x" * 1_000]}, "more than"),
        ({"a": ["x" * (MAX_CHARACTERS + 1)]}, "characters"),
        ({"a": []}, "has no line"),
    ],
)
def test_wildcards_that_would_never_end_are_refused_at_once(wildcards, words):
    begin = time.process_time()
    with pytest.raises(InvalidRequest, match=words):
        expand("__a__", wildcards, "1")
    assert time.process_time() - begin < 1


def test_an_unknown_name_is_told_with_the_names_that_are_most_like_it():
    many = {f"animal{number}": ["x"] for number in range(300)} | {"hair/colour": ["red"]}
    with pytest.raises(UnknownName, match=r"'hair/color'. Known: hair/colour\.") as refused:
        expand("__hair/color__", many, "1")
    assert "animal" not in str(refused.value)
    with pytest.raises(UnknownName, match=r"animal0, animal1, animal10, .*…"):
        expand("__zzz__", many, "1")


def drawn(prompt, wildcards=COLOURS, count=400):
    return Counter(expand(prompt, wildcards, str(seed)) for seed in range(count))


def test_one_of_the_alternatives_in_braces_is_taken():
    assert drawn("a {red|blue |} cat").keys() == {"a red cat", "a blue  cat", "a  cat"}
    assert drawn("{__colour__|{a|b}}").keys() == {*COLOURS["colour"], "a", "b"}
    assert drawn("{[cat|dog]|[bird]}").keys() == {"[cat|dog]", "[bird]"}
    assert drawn("{a [b|c}").keys() == {"a [b", "c"}
    assert drawn("<lora:{x|y}:0.5>").keys() == {"<lora:x:0.5>", "<lora:y:0.5>"}


def test_a_weight_says_how_often_an_alternative_comes():
    counted = drawn("{8::a|b|1.0::c|0::d}", count=1000)
    assert counted.keys() == {"a", "b", "c"}
    assert 740 < counted["a"] < 860
    assert drawn("{0::a|0::b}").keys() == {"a", "b"}


def test_several_different_ones_can_be_taken_and_joined():
    assert drawn("{2$$a|b|c}").keys() == {"a, b", "b, a", "a, c", "c, a", "b, c", "c, b"}
    assert drawn("{2$$ and $$a|b}").keys() == {"a and b", "b and a"}
    assert drawn("{0-1$$a|b}").keys() == {"", "a", "b"} == drawn("{-1$$a|b}").keys()
    assert {len(said.split(", ")) for said in drawn("{2-$$a|b|c|d}")} == {2, 3, 4}
    assert drawn("{9$$a|b}").keys() == {"a, b", "b, a"}


def test_several_lines_of_a_wildcard_can_be_taken():
    said = drawn("{2$$ $$__colour__}")
    assert all(len(set(words.split())) == 2 and set(words.split()) <= set(COLOURS["colour"]) for words in said)
    assert len(said) == 20


@pytest.mark.parametrize(
    "prompt",
    ["{", "}", "{a}", "{{{masterpiece}}}", "{a} | b", "[a|b]", r"\{a|b\}", r"\{a|b}", "{$$a}", "a | b", "{prompt}"],
)
def test_braces_without_alternatives_are_text(prompt):
    assert expand(prompt, {}, "1") == prompt


def test_an_escaped_bar_separates_nothing():
    assert drawn(r"{a\|b|c}").keys() == {r"a\|b", "c"}


@pytest.mark.parametrize(
    "prompt", ["{a|{b|{c|__colour__}}} __thing__", "{ __open__", r"\{{a|b}\}", "__hair_{red|blue}__", "{{1-2$$a|b}$$|}"]
)
def test_what_was_drawn_holds_nothing_more_to_draw(prompt):
    wildcards = {**COLOURS, "open": ["a|b}"], "hair_red": ["x"], "hair_blue": ["{y|z}"]}
    for seed in range(20):
        said = expand(prompt, wildcards, str(seed))
        assert said == expand(said, wildcards, "another")


def test_alternatives_that_lie_too_deep_are_refused_at_once():
    begin = time.process_time()
    with pytest.raises(InvalidRequest, match="more than 32 deep"):
        expand("{a|" * 5_000 + "}" * 5_000, {}, "1")
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    ("prompt", "may"), [("a cat", False), ("__a__", True), ("{a|b}", True), ("{2$$a}", True), ("{a}", False)]
)
def test_a_quick_look_tells_whether_there_is_anything_to_draw(prompt, may):
    assert may_be_drawn(prompt) is may


def test_lines_drawn_in_braces_are_those_of_equal_alternatives():
    lines = [f"w{number}" for number in range(12)]
    listed = "|".join(lines)
    for seed in range(60):
        for amount in ("1", "3", "2-9", "12"):
            wildcard, written = (expand(f"{{{amount}$${said}}}", {"w": lines}, str(seed)) for said in ("__w__", listed))
            assert wildcard == written


def test_a_large_wildcard_in_braces_is_drawn_from_at_once():
    begin = time.process_time()
    expand(", ".join(["{2$$__w__}"] * 500), {"w": [str(number) for number in range(300_000)]}, "1")
    assert time.process_time() - begin < 1
