"""Every text is understood somehow, in time linear in its length."""

import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.prompt.words import WordTokenizer
from webui.prompt.chunks import CHUNK, Vocabulary, chunks
from webui.prompt.comments import without_comments
from webui.prompt.composition import parts
from webui.prompt.plan import finish, plan
from webui.prompt.schedule import clock, schedule
from webui.prompt.styles import Style, apply_styles, take_styles
from webui.prompt.tags import take_tags
from webui.prompt.weights import sections
from webui.prompt.wildcards import expand

SIGNS = [
    *"()[]{}:|\\<>#,_=-+ .\n",
    "$$",
    "2$$",
    "3::",
    "(",
    "[",
    "]",
    ":",
    "1.2",
    ":5]",
    "|",
    " AND ",
    "BREAK",
    "<lora:",
    "__w__",
    "a",
    "é",
]
odd_texts = st.one_of(
    st.text(st.characters(codec=None), max_size=200),
    st.lists(st.sampled_from(SIGNS), max_size=60).map("".join),
)
"""All of Unicode, lone surrogates included, and whatever the signs of the language can be put together to."""


class AnyWildcard(dict[str, list[str]]):
    """Knows every name."""

    def __contains__(self, name):
        return True

    def __missing__(self, name):
        return ["w [x|y]"]


@settings(max_examples=150, deadline=None)
@given(odd_texts, st.integers(1, 20), st.none() | st.integers(1, 20), st.booleans(), st.booleans())
@example("x" + "‍" * 10_000, 5, None, False, False)
@example("\ud800 [\udfff:b:1]", 5, None, False, False)
def test_any_text_becomes_a_plan_that_covers_every_step(text, steps, hires_steps, old, is_negative):
    this = clock(steps, hires_steps=hires_steps, old_timelines=old)
    planned = plan(finish(text, styles=["{prompt}, x"], wildcards=AnyWildcard()), this, is_negative=is_negative)
    for part in planned.parts:
        untils = [phase.until for phase in part.phases]
        assert untils == sorted(set(untils))
        assert untils[0] >= 1
        assert untils[-1] == this.steps
    for said in planned.texts.values():
        for chunk in chunks(said, Vocabulary(WordTokenizer(), {"a": 3})):
            assert len(chunk.ids) == len(chunk.weights) <= CHUNK


@settings(max_examples=60, deadline=None)
@given(odd_texts)
def test_chunks_hold_every_token_in_order(text):
    tokenizer = WordTokenizer()
    said = sections(text)
    tokens = [token for section in said for piece in section for token in tokenizer.ids(piece.text)]
    assert [token for chunk in chunks(said, Vocabulary(tokenizer)) for token in chunk.ids] == tokens


@given(st.text(st.characters(exclude_characters="()[]\\|:"), max_size=80))
def test_a_text_without_signs_says_the_same_at_every_step(text):
    assert schedule(text, clock(10)) == ((10, text),)
    if "BREAK" not in text:
        assert "".join(piece.text for piece in sections(text)[0]) == text


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_an_escaped_text_is_read_as_it_was(text):
    escaped = "".join(f"\\{sign}" if sign in "()[]\\:" else sign for sign in text)
    assume("BREAK" not in text)
    (phase,) = plan(escaped, clock(10), is_negative=True).parts[0].phases
    assert "".join(piece.text for piece in phase.sections[0]) == text


prompts_and_styles = st.text("ab, ", min_size=1, max_size=12).map(str.strip)


@given(prompts_and_styles, st.lists(prompts_and_styles.filter(bool), max_size=4, unique=True))
def test_styles_that_were_applied_can_be_taken_away(prompt, texts):
    styles = [Style(f"{number}", text) for number, text in enumerate(texts)]
    merged = apply_styles(prompt, texts)
    left, _, found = take_styles(merged, "", styles)
    again = apply_styles(left, [styles[int(name)].prompt for name in found])
    assert bare(again) == bare(merged)


def bare(prompt):
    return prompt.replace(" ", "").replace(",", "")


HOSTILE = {
    "open square": "[", "open round": "(", "open curly": "{", "backslash": "\\", "edit": "[a:", "edit end": ":1]",
    "alternation": "a|", "alternation open": "[a|", "tag": "<lora:", "tag begin": "<", "AND": "AND", "break": "BREAK ",
    "spaces": " ", "newlines": "\n", "colon and spaces": ":  ", "number": ":1", "words": "a ", "underscores": "_",
    "wildcard begin": "__a-", "comment": "\n#", "crossing": "([", "closed": "[a]", "comma": "a,", "deep number": "(:1.",
    "alternatives": "{a|b}", "open alternatives": "{a|", "crossing braces": "{[|", "closing braces": "}|",
}  # fmt: skip

READERS = {
    "weights": sections,
    "schedule": lambda text: schedule(text, clock(20)),
    "composition": lambda text: parts(text.replace("AND", "AN") + " AND x"),
    "tags": take_tags,
    "comments": without_comments,
    "wildcards": lambda text: expand(text, AnyWildcard({"a-": ["b"]}), "1"),
}


def seconds(read, text):
    """Of processor time, the better of two."""
    best = float("inf")
    for _ in range(2):
        begin = time.process_time()
        read(text)
        best = min(best, time.process_time() - begin)
    return best


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_time_grows_with_the_length_and_not_with_its_square(reader, kind):
    count = 1_000 // len(HOSTILE[kind])
    short, long = (HOSTILE[kind] * count * times for times in (1, 12))
    # Quadratic time would be 144 times that of the short one; what is added is for what cannot be measured.
    assert seconds(READERS[reader], long) < 36 * seconds(READERS[reader], short) + 0.02


def nested(text, begin, end, times):
    return begin * times + text + end * times


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000, "(" * 10_000, nested("a", "(", ")", 5_000), nested("a", "[", "]", 5_000),
        nested("a", "[b:", ":5]", 4_000), nested("a", "[b|", "]", 4_000), nested("a", "(", ":1.1)", 4_000),
    ],
)  # fmt: skip
def test_ten_thousand_brackets_take_milliseconds(text):
    assert seconds(lambda text: (schedule(text, clock(20)), sections(text)), text) < 0.5


def test_a_hostile_prompt_of_four_thousand_characters_is_planned_quickly():
    text = "".join(f"[{'|' * (n % 13 + 1)}({n}]" for n in range(450))[:4_000]
    assert seconds(lambda text: plan(text, clock(150)), text) < 1
