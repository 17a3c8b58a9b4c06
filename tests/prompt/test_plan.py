"""A whole prompt, from what is typed to what is encoded at which step."""

import pytest

from tests.prompt.words import WordTokenizer
from webui.errors import InvalidRequest
from webui.prompt.chunks import COMMA_BACKTRACK, TokenCount, Vocabulary, chunks
from webui.prompt.limits import MAX_CHARACTERS
from webui.prompt.plan import finish, plan
from webui.prompt.schedule import clock
from webui.prompt.tags import Tag
from webui.prompt.weights import EMPHASIS, Piece


def said_at(planned, step):
    return [(part.weight, part.at(step).text) for part in planned.parts]


def test_parts_phases_pieces_and_tags_come_out_of_one_prompt():
    planned = plan("a (cat:1.2) [x:y:2] <lora:l:0.8>AND dog [z:.5]:0.7", clock(10))
    assert planned.tags == (Tag("lora", "l", ("0.8",)),)
    assert [(part.weight, [phase.until for phase in part.phases]) for part in planned.parts] == [
        (1.0, [2, 10]),
        (0.7, [5, 10]),
    ]
    assert said_at(planned, 1) == [(1.0, "a (cat:1.2) x"), (0.7, " dog ")]
    assert said_at(planned, 2) == said_at(planned, 1)
    assert said_at(planned, 3) == [(1.0, "a (cat:1.2) y"), (0.7, " dog ")]
    assert said_at(planned, 10) == said_at(planned, 99) == [(1.0, "a (cat:1.2) y"), (0.7, " dog z")]
    assert planned.parts[0].at(1).sections == ((Piece("a "), Piece("cat", 1.2), Piece(" x")),)


def test_weights_are_read_after_the_schedule_has_cut():
    """`[a:1.2]` adds a at 120 % of the steps: never in the first pass, after a fifth of the second."""
    assert said_at(plan("[a:1.2]", clock(10)), 10) == [(1.0, "")]
    assert said_at(plan("[a:1.2]", clock(10, hires_steps=20)), 5) == [(1.0, "a")]
    (phase,) = plan("(a:[1.5:1.3:0])", clock(10)).parts[0].phases
    assert phase.sections == ((Piece("a", 1.3),),)


def test_a_negative_prompt_is_scheduled_and_has_neither_parts_nor_tags():
    planned = plan("a AND [b:c:5] <lora:x:1>", clock(10), is_negative=True)
    assert said_at(planned, 1) == [(1.0, "a AND b <lora:x:1>")]
    assert said_at(planned, 6) == [(1.0, "a AND c <lora:x:1>")]
    assert planned.tags == ()


def test_styles_comments_wildcards_and_tags_pass_in_this_order():
    wildcards = {"pet": ["cat <lora:cats:1>"], "hidden": []}
    text = finish(
        "a __pet__ # __hidden__", styles=["{prompt}", "[by:with:2] x"], wildcards=wildcards, seed=3
    )  # fmt: skip
    assert text == "a cat <lora:cats:1> \n"
    assert plan(text, clock(4)).tags == (Tag("lora", "cats", ("1",)),)
    assert finish("a", styles=["__pet__"], wildcards=wildcards) == "a, cat <lora:cats:1>"
    assert finish("a # b __pet__", comments=False) == "a # b __pet__"


def test_each_picture_of_a_batch_chooses_for_itself_and_the_negative_prompt_apart():
    wildcards = {"n": [str(n) for n in range(1000)]}
    chosen = {finish("__n__", wildcards=wildcards, seed=seed, is_negative=n) for seed in (1, 2) for n in (True, False)}
    assert len(chosen) == 4


def test_the_count_is_that_of_the_longest_text_as_it_is_encoded():
    vocabulary = Vocabulary(WordTokenizer(), {"emb": 5})
    planned = plan("a [b:" + "c " * 80 + ":5] <lora:not:1> AND (emb, d BREAK e:1.1)", clock(10))
    assert planned.count(vocabulary, comma_backtrack=COMMA_BACKTRACK) == TokenCount(81, 150)
    encoded = [sum(len(chunk.ids) for chunk in chunks(said, vocabulary)) for said in planned.texts.values()]
    assert encoded == [2, 81, 8]


def test_each_different_text_is_encoded_once():
    planned = plan("[a|b] AND [b|a]", clock(150))
    assert set(planned.texts) == {"a", "b", " b", " a"}


@pytest.mark.parametrize(("prompt", "used"), [("a (b)", True), ("[a|(b:1.3)]", True), ("a ([b]) (c:1)", False)])
def test_emphasis_is_used_when_any_weight_is_not_one(prompt, used):
    assert plan(prompt, clock(10)).uses_emphasis is used


def test_without_emphasis_brackets_are_text_but_schedules_work():
    (phase,) = plan("(a:1.2) [b:c:0]", clock(10), emphasis="None").parts[0].phases
    assert phase.sections == ((Piece("(a:1.2) c"),),)
    assert set(EMPHASIS) == {"None", "Ignore", "Original", "No norm"}


def test_a_prompt_longer_than_any_encoder_needs_is_refused_with_both_numbers():
    plan("x" * MAX_CHARACTERS, clock(10))
    for refused in (lambda text: plan(text, clock(10)), finish):
        with pytest.raises(InvalidRequest, match=r"1,000,000 characters.*32,000"):
            refused("x" * 1_000_000)
