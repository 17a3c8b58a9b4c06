"""What docs/prompts.md says is what happens: its examples and its limits."""

import re

import pytest

from webui.prompt import alternatives, limits, wildcard_files, wildcards
from webui.prompt.composition import parts
from webui.prompt.schedule import clock, schedule
from webui.prompt.weights import EMPHASIS, sections
from webui.settings import ROOT

PAGE = (ROOT / "docs" / "prompts.md").read_text("utf-8")


def examples(heading):
    """The blocks of indented lines `prompt   meaning; meaning` under a heading."""
    chapter = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^ {4}.+\n)+", chapter, re.MULTILINE)
    return [[re.split(r" {2,}", line.strip(), maxsplit=1) for line in block.splitlines()] for block in blocks]


def weighted(found):
    return "; ".join(f"{text.strip()} {round(weight, 3):g}" for text, weight in found)


def test_examples_of_weights():
    (block,) = examples("Weights")
    assert len(block) == 9
    for prompt, meaning in block:
        assert weighted((piece.text, piece.weight) for piece in sections(prompt)[0]) == meaning


@pytest.mark.parametrize(("block", "options"), [(0, {}), (1, {"hires_steps": 10}), (2, {})])
def test_examples_of_changes(block, options):
    for prompt, meaning in examples("Changes on the way")[block]:
        said, begin = [], 1
        for until, text in schedule(prompt, clock(10, **options)):
            said.append(f"{begin}-{until} {text.strip()}")
            begin = until + 1
        assert "; ".join(said) == meaning


def test_examples_of_and():
    (block,) = examples("Several prompts at once: AND")
    for prompt, meaning in block:
        assert weighted((part.text, part.weight) for part in parts(prompt)) == meaning


def test_every_way_of_emphasis_is_described():
    for name in EMPHASIS:
        assert f"| {name} |" in PAGE


def test_limits_are_the_real_ones():
    for number in (limits.MAX_CHARACTERS, limits.MAX_CHARACTERS_OF_STEPS, limits.MAX_PARTS, wildcards.MAX_CHOICES):
        assert f"| {number:,} |" in PAGE
    assert f"| {wildcards.MAX_DEPTH} deep |" in PAGE
    assert f"| {alternatives.MAX_NESTING} deep |" in PAGE
    assert f"| {wildcard_files.MAX_FILE // 2**20} MB |" in PAGE
    assert f"±{limits.MAX_WEIGHT:g}" in PAGE
