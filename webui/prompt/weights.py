"""Weights in brackets and BREAK: text -> sections of weighted pieces.

What weights do to the text encoding is the engine's matter; here are only the names of the ways.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from webui.prompt.limits import limited

EMPHASIS: Mapping[str, str] = {
    "Original": "Each token's vector is multiplied by its weight, then every 75 tokens are scaled back to their mean.",
    "No norm": "Each token's vector is multiplied by its weight. Better for SDXL.",
    "Ignore": "Brackets are read, their weights are not used.",
    "None": "Brackets are plain text.",
}
"""What weights do: name as AUTOMATIC1111 has it -> in words. Always computed for one prompt, never over a batch."""

STEP = 1.1
"""One pair of round brackets multiplies by it, one pair of square brackets divides by it."""

_TOKEN = re.compile(
    r"""
      \\(?P<escaped>[()\[\]\\:]?)                               # any other backslash vanishes
    | (?P<open_round>\()
    | (?P<open_square>\[)
    | :\s*+(?P<number>[+-]?(?:\d++(?:\.\d*+)?|\.\d++))\s*+\)    # possessive: nothing is read twice
    | (?P<close_round>\))
    | (?P<close_square>\])
    | (?P<text>[^\\()\[\]:]++|:)
    """,
    re.VERBOSE,
)
_BREAK = re.compile(r"\bBREAK\b")
_HUGE = 1e100


@dataclass(frozen=True)
class Piece:
    """Text that is tokenized as one, and what its vectors are multiplied by."""

    text: str
    weight: float = 1.0


Section = tuple[Piece, ...]
Sections = tuple[Section, ...]
"""What stands between BREAKs: at least one section, and each has at least one piece."""


def sections(text: str, emphasis: str = "Original") -> Sections:
    """The pieces of `text`, neighbours of equal weight as one, with a new section after each BREAK.

    An unclosed bracket counts as closed at the end, a stray closing one is text. In a round bracket `:number` before
    its end takes the place of 1.1. With emphasis "None" everything is text, BREAK too.
    """
    if emphasis == "None":
        return ((Piece(text),),)
    reader = _Reader()
    for match in _TOKEN.finditer(text):
        reader.read(match)
    return tuple(_merged(section) for section in reader.sections())


@dataclass(frozen=True)
class _Span:
    """Text with the brackets around it; None is a BREAK."""

    text: str | None
    bracket: int
    squares: int


class _Reader:
    """Gathers text and brackets in one pass; weights are known once every bracket has found its end.

    Round brackets form a tree: `_outer[k]` is the bracket around bracket k, bracket 0 is the whole prompt. Square
    brackets all weigh the same, so how many are open is enough. The two kinds may cross, as in `(a [b) c]`.
    """

    def __init__(self) -> None:
        self._spans: list[_Span] = []
        self._outer = [0]
        self._explicit: list[float | None] = [1.0]
        self._bracket = 0
        self._squares = 0

    def read(self, match: re.Match[str]) -> None:
        kind, text = match.lastgroup, match[0]
        if kind == "escaped":
            self._add(match["escaped"])
        elif kind == "open_round":
            self._outer.append(self._bracket)
            self._explicit.append(None)
            self._bracket = len(self._outer) - 1
        elif kind == "open_square":
            self._squares += 1
        elif kind in ("number", "close_round") and self._bracket:
            if kind == "number":
                self._explicit[self._bracket] = float(match["number"])
            self._bracket = self._outer[self._bracket]
        elif kind == "close_square" and self._squares:
            self._squares -= 1
        else:
            self._add_words(text)

    def sections(self) -> Iterator[list[tuple[str, float]]]:
        totals = self._totals()
        section: list[tuple[str, float]] = []
        for span in self._spans:
            if span.text is None:
                yield section
                section = []
            else:
                product, steps = totals[span.bracket]
                section.append((span.text, limited(product * _power(steps - span.squares))))
        yield section

    def _add_words(self, text: str) -> None:
        first, *others = _BREAK.split(text)
        # Spaces around BREAK go with it; by hand, because a pattern for them takes quadratic time on spaces alone.
        self._add(first.rstrip() if others else first)
        for number, words in enumerate(others, 1):
            self._add(None)
            self._add(words.strip() if number < len(others) else words.lstrip())

    def _add(self, text: str | None) -> None:
        if text != "":
            self._spans.append(_Span(text, self._bracket, self._squares))

    def _totals(self) -> list[tuple[float, int]]:
        """For each round bracket: the product of the weights written on it and around it, and how many without one."""
        totals = [(1.0, 0)]
        for outer, explicit in zip(self._outer[1:], self._explicit[1:], strict=True):
            product, steps = totals[outer]
            if explicit is None:
                totals.append((product, steps + 1))
            else:
                totals.append((max(-_HUGE, min(_HUGE, product * min(_HUGE, explicit))), steps))
        return totals


def _power(steps: int) -> float:
    """1.1 to the `steps`. Whole powers, so that ([a]) weighs exactly 1; a hundred brackets are beyond any limit."""
    return float(STEP ** max(-1000, min(1000, steps)))


def _merged(section: list[tuple[str, float]]) -> Section:
    """Neighbours of one weight are one piece: a word that brackets cut in two is tokenized whole."""
    starts = [0, *(k + 1 for k, (a, b) in enumerate(pairwise(section)) if abs(a[1] - b[1]) > 1e-9), len(section)]
    pieces = [
        Piece("".join(text for text, _ in section[start:end]), section[start][1])
        for start, end in pairwise(starts)
        if start < end
    ]
    return tuple(pieces) or (Piece(""),)
