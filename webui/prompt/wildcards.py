"""Draws the words of a prompt: `__name__` -> one line of NAME.txt, `{a|b}` -> one of both, the same for the same seed.

A name is a key of the list of files that were found (`wildcard_files`), never a path. What is drawn may hold wildcards
and alternatives again.
"""

import bisect
import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

from webui.errors import InvalidRequest, UnknownName
from webui.prompt.alternatives import Alternatives, Option, alternatives
from webui.prompt.limits import MAX_CHARACTERS, NAMES_TOLD, check_length, told

MAX_DEPTH = 16
"""Wildcards inside wildcards: deeper ones lead to themselves."""
MAX_CHOICES = 10_000
"""Wildcards and alternatives that one prompt may hold, those inside others included."""

_WILDCARD = re.compile(r"(?<!\\)__([^\W_][\w/-]*?)__")

Wildcards = Mapping[str, Sequence[str]]
"""Name -> its lines."""


def can_be_typed(name: str) -> bool:
    """Whether `__name__` would be read as that wildcard."""
    match = _WILDCARD.match(f"__{name}__")
    return match is not None and match[1] == name and "//" not in name and not name.endswith("/")


def may_be_drawn(prompt: str) -> bool:
    """Whether `expand` could change it: a quick look that is now and then wrong with a yes."""
    return _WILDCARD.search(prompt) is not None or ("{" in prompt and ("|" in prompt or "$$" in prompt))


def expand(prompt: str, wildcards: Wildcards, key: str) -> str:
    r"""The prompt with words in the place of each wildcard and of alternatives; `\__name__` and `\{a|b\}` stay text.

    `key` decides which words: the same key and files, the same text, whatever else the prompt holds after it. The
    result holds nothing more to draw: expanding it again gives it again.
    Raises `UnknownName`, or `InvalidRequest` for an empty wildcard, one that leads to itself, and a text too long.
    """
    expansion = _Expansion(wildcards, key)
    for _ in range(MAX_DEPTH):  # more than once only where what was drawn makes a new one with what stands beside it
        text = check_length(expansion.of(prompt, MAX_DEPTH))
        if text == prompt:
            return text
        prompt = text
    raise _too_deep(prompt)


class _Expansion:
    """One prompt being expanded: counts what it has taken."""

    def __init__(self, wildcards: Wildcards, key: str) -> None:
        self._wildcards = wildcards
        self._key = key
        self._choices = 0
        self._length = 0

    def of(self, text: str, depth: int) -> str:
        said: list[str] = []
        position = 0
        for group in alternatives(text):
            said += self._wildcards_of(text[position : group.begin], depth), self._taken(group, depth)
            position = group.end
        return "".join(said) + self._wildcards_of(text[position:], depth)

    def _wildcards_of(self, text: str, depth: int) -> str:
        return _WILDCARD.sub(lambda match: self._line(match[1], depth), text)

    def _line(self, name: str, depth: int) -> str:
        if not depth:
            raise _too_deep(name)
        number = self._draw(name)
        lines = self._lines(name)
        return self._said(lines[number % len(lines)], depth - 1)

    def _taken(self, group: Alternatives, depth: int) -> str:
        """As many different options as the group asks for, in the order in which they are drawn."""
        options, lines = list(group.options), None
        if len(options) == 1 and (only := _WILDCARD.fullmatch(options[0].text.strip())) and depth:
            lines = self._lines(only[1])
            depth -= 1
        amount = group.least
        if group.most > group.least:
            amount += self._draw("$$") % (group.most - group.least + 1)
        if lines is not None:
            taken: list[int] = []
            said = [self._said(self._other_line(lines, taken), depth) for _ in range(min(amount, len(lines)))]
        else:
            said = [self._said(self._option(options), depth) for _ in range(min(amount, len(options)))]
        return group.joiner.join(said)

    def _other_line(self, lines: Sequence[str], taken: list[int]) -> str:
        """Draw a line that is not among the `taken`, which are sorted, and put it there. Never looks at all lines."""
        left = len(lines) - len(taken)
        place = min(int(self._draw("{") / 2**64 * left), left - 1)
        for gone in taken:
            place += gone <= place
        bisect.insort(taken, place)
        return lines[place]

    def _option(self, options: list[Option]) -> str:
        """Draw one by its weight and take it out; options of weight 0 come when nothing else is left."""
        number = self._draw("{") / 2**64
        weights = [option.weight for option in options]
        if not any(weights):
            weights = [1.0] * len(options)
        *sums, total = accumulate(weights)
        return options.pop(sum(border <= number * total for border in sums)).text

    def _said(self, text: str, depth: int) -> str:
        self._length += len(text)
        return self.of(text, depth)

    def _draw(self, name: str) -> int:
        """0 to 2**64 - 1; another number for each draw."""
        self._choices += 1
        if self._choices > MAX_CHOICES or self._length > MAX_CHARACTERS:
            raise InvalidRequest(
                "The wildcards of the prompt lead to more than {choices} words or {characters} characters. Use fewer.",
                choices=f"{MAX_CHOICES:,}",
                characters=f"{MAX_CHARACTERS:,}",
            )
        return _number(f"{self._key}/{self._choices}/{name}")

    def _lines(self, name: str) -> Sequence[str]:
        if name not in self._wildcards:
            raise UnknownName("wildcard", name, nearest(name, self._wildcards))
        lines = self._wildcards[name]
        if not lines:
            raise InvalidRequest("The wildcard '{name}' has no line. Write one word or phrase per line.", name=name)
        return lines


def nearest(name: str, wildcards: Wildcards) -> list[str]:
    """Of many names those that are most like it, for a message; the first ones when none is."""
    names = list(wildcards)[:10_000]
    close = difflib.get_close_matches(name[:80], names, NAMES_TOLD // 4) if len(names) > NAMES_TOLD else []
    return close or told(names)


def _too_deep(name: str) -> InvalidRequest:
    return InvalidRequest(
        "The wildcard '{name}' leads to itself, or lies more than {most} wildcards deep.",
        name=name[:80],
        most=MAX_DEPTH,
    )


def _number(key: str) -> int:
    """A number that looks drawn by chance; unlike `random`'s it is the same in every version of Python."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")
