"""Alternatives in braces: `{a|b}`, `{3::a|b}`, `{2$$a|b|c}` found in a text. Which is taken is for `wildcards` to draw.

The words are those of the Dynamic Prompts extension. Braces without `|` or `$$` are plain text, whatever is in them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from webui.errors import InvalidRequest

MAX_NESTING = 32
"""Alternatives inside alternatives."""
MOST_TAKEN = 99
"""What `{99$$…}` can ask for: two digits."""
COMMA = ", "
"""Between the options that are taken together, unless `{2$$ and $$a|b|c}` says another."""

_SIGN = re.compile(r"\\.|[{}\[\]|]", re.DOTALL)
_AMOUNT = re.compile(r"\s*(?P<least>\d{0,2})(?P<range>-?)(?P<most>\d{0,2})\$\$")
_WEIGHT = re.compile(r"\s*(\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})::")


@dataclass(frozen=True)
class Option:
    """One of several; it may hold alternatives and wildcards again."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Alternatives:
    """What stands between `begin` and `end` of a text, braces included."""

    begin: int
    end: int
    options: tuple[Option, ...]
    """At least one."""
    least: int = 1
    most: int = 1
    """How many different options are taken; fewer when there are not so many."""
    joiner: str = COMMA


def alternatives(text: str) -> list[Alternatives]:
    r"""Those of the text that lie in no other, in order. `\{`, `\|` and `\}` are plain text.

    A `|` inside a pair of square brackets belongs to these. Raises `InvalidRequest` when more than `MAX_NESTING` lie in
    one another. Takes time linear in the length.
    """
    reader = _Reader()
    for sign in _SIGN.finditer(text):
        reader.read(sign[0], sign.start(), text)
    return [_read(text, found) for found in reader.found]


@dataclass
class _Bracket:
    """One that is open, and the bars directly in it."""

    sign: str
    begin: int
    bars: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    begin: int
    end: int
    bars: Sequence[int]
    nesting: int


class _Reader:
    """Pairs brackets off in one pass."""

    def __init__(self) -> None:
        self.found: list[_Found] = []
        self._open: list[_Bracket] = []
        self._braces = 0

    def read(self, sign: str, position: int, text: str) -> None:
        if sign in ("{", "["):
            self._open.append(_Bracket(sign, position))
            self._braces += sign == "{"
        elif sign == "]" and self._open and self._open[-1].sign == "[":
            self._open.pop()
        elif sign == "|" and self._open:
            self._open[-1].bars.append(position)
        elif sign == "}" and self._braces:
            self._close(position + 1, text)

    def _close(self, end: int, text: str) -> None:
        """Take the innermost brace off. Square brackets that it leaves open were none, and their bars are its own."""
        inner: list[_Bracket] = []
        while (bracket := self._open.pop()).sign != "{":
            inner.append(bracket)
        self._braces -= 1
        bars = [*bracket.bars, *(bar for each in reversed(inner) for bar in each.bars)]
        if bars or _amount(text, bracket.begin + 1, end - 1) is not None:
            self._keep(bracket.begin, end, bars)

    def _keep(self, begin: int, end: int, bars: Sequence[int]) -> None:
        nesting = 1
        while self.found and self.found[-1].begin > begin:
            nesting = max(nesting, 1 + self.found.pop().nesting)
        if nesting > MAX_NESTING:
            raise InvalidRequest("Alternatives in braces lie more than {most} deep in one another.", most=MAX_NESTING)
        self.found.append(_Found(begin, end, bars, nesting))


def _amount(text: str, begin: int, end: int) -> re.Match[str] | None:
    """`2$$`, `1-3$$`, `-3$$` or `2-$$` at the beginning."""
    match = _AMOUNT.match(text, begin, end)
    return match if match is not None and (match["least"] or match["most"]) else None


def _read(text: str, found: _Found) -> Alternatives:
    begin, inside = found.begin + 1, found.end - 1
    amount = _amount(text, begin, inside)
    least = most = 1
    joiner = COMMA
    if amount is not None:
        begin = amount.end()
        least, most = _range(amount)
        second = text.find("$$", begin, found.bars[0] if found.bars else inside)
        if second >= 0:
            joiner, begin = text[begin:second], second + 2
    borders = [begin, *(bar + 1 for bar in found.bars)]
    options = (text[first:last] for first, last in zip(borders, [*found.bars, inside], strict=True))
    return Alternatives(found.begin, found.end, tuple(map(_option, options)), least, most, joiner)


def _range(amount: re.Match[str]) -> tuple[int, int]:
    """Least and most. `2-$$` is at least two, `-2$$` at most two."""
    least = int(amount["least"] or 0)
    if not amount["range"]:
        return (least, least)
    most = int(amount["most"] or MOST_TAKEN)
    return min(least, most), max(least, most)


def _option(text: str) -> Option:
    match = _WEIGHT.match(text)
    return Option(text) if match is None else Option(text[match.end() :], float(match[1]))
