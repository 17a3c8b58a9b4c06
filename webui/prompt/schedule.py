"""Prompts that change on the way: `[from:to:when]` and `[a|b]` -> which text holds until which step.

Weights stay in the text as they are: `weights` reads them next.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from webui.errors import InvalidRequest
from webui.prompt.limits import MAX_CHARACTERS_OF_STEPS

_TOKEN = re.compile(r"(?P<sign>[\[\]():|])|(?:[^\\\[\]():|]++|\\[\s\S]?)++")
_WHEN = re.compile(r"\s*+([+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)\s*+")
_PAIRS = {")": "(", "]": "["}

Schedule = tuple[tuple[int, str], ...]
"""(last step, counted from 1, at which it holds; text), in order; neighbours differ."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The steps of one pass, and how the numbers in a prompt point at them."""

    steps: int
    """Steps of this pass, at least 1."""
    first_pass: int = 0
    """In the hires pass: steps of the pass before it, which whole numbers count too. 0 in the first pass."""
    old_timelines: bool = False
    """The rule before AUTOMATIC1111 1.6: below 1 a share of the steps, else a step; no pass before counts."""

    def last_step_before(self, when: str) -> int:
        """Last step of this pass before the change that `when` names: 0 none, `steps` all of them."""
        value = float(when)
        if self.old_timelines:
            value = value * self.steps if value < 1 else value
        elif "." in when:
            value = (value - (1.0 if self.first_pass else 0.0)) * self.steps
        else:
            value -= self.first_pass
        return int(max(0.0, min(float(self.steps), value)))


def clock(steps: int, *, hires_steps: int | None = None, old_timelines: bool = False) -> Clock:
    """The clock of the first pass of `steps` steps, or of the hires pass of `hires_steps` that follows it."""
    if hires_steps is None or old_timelines:
        return Clock(steps=steps, old_timelines=old_timelines)
    return Clock(steps=hires_steps, first_pass=steps)


def schedule(text: str, clock: Clock) -> Schedule:
    """What `text` says at which steps. The last entry ends at `clock.steps`.

    A bracket that is no such construct, or holds a bracket without its partner, is text.
    Raises `InvalidRequest` when the different texts together are longer than `MAX_CHARACTERS_OF_STEPS`.
    """
    score = _Score(text, clock)
    entries: list[tuple[int, str]] = []
    different: set[str] = set()
    length = 0
    for step in score.ends():
        said = score.at(step)
        if entries and entries[-1][1] == said:
            entries.pop()
        entries.append((step, said))
        if said not in different:
            different.add(said)
            length += len(said)
        if length > MAX_CHARACTERS_OF_STEPS:
            raise InvalidRequest(
                "The prompt changes so often that its steps need more than {most} characters. "
                "Use fewer changes or a shorter prompt.",
                most=f"{MAX_CHARACTERS_OF_STEPS:,}",
            )
    return tuple(entries)


@dataclass(frozen=True)
class _Choice:
    """Stands where a construct begins: at each step, from where its text is taken."""

    options: tuple[int, ...]
    """Where each option begins in the score."""
    until: int | None
    """Two options: last step of the first. None: all take turns."""

    def at(self, step: int) -> int:
        if self.until is None:
            return self.options[(step - 1) % len(self.options)]
        return self.options[0] if step <= self.until else self.options[1]


@dataclass
class _Open:
    """A bracket that waits for its partner."""

    sign: str
    begin: int
    separators: list[int] = field(default_factory=list)


class _Score:
    """The prompt as a list of texts, choices and jumps (the place to go on at), so that nesting costs nothing."""

    def __init__(self, text: str, clock: Clock) -> None:
        self._clock = clock
        self._notes: list[str | _Choice | int] = []
        self._open: list[_Open] = []
        for match in _TOKEN.finditer(text):
            self._notes.append(match[0])
            if match["sign"]:
                self._read(match["sign"])

    def ends(self) -> list[int]:
        """Steps after which the text may change, sorted; the last is the last of all."""
        choices = [note for note in self._notes if isinstance(note, _Choice)]
        if any(choice.until is None for choice in choices):
            return list(range(1, self._clock.steps + 1))
        return sorted({choice.until for choice in choices if choice.until} | {self._clock.steps})

    def at(self, step: int) -> str:
        return "".join(self._said(step))

    def _said(self, step: int) -> Iterator[str]:
        place = 0
        while place < len(self._notes):
            note = self._notes[place]
            if isinstance(note, str):
                yield note
                place += 1
            else:
                place = note.at(step) if isinstance(note, _Choice) else note

    def _read(self, sign: str) -> None:
        here = len(self._notes) - 1
        if sign in "([":
            self._open.append(_Open(sign, here))
        elif sign in ":|":
            if self._open:
                self._open[-1].separators.append(here)
        elif not (self._open and self._open[-1].sign == _PAIRS[sign] and self._close(self._open.pop(), here)):
            # Not a construct, so neither is anything around it; what it holds stays as it was understood.
            self._open.clear()

    def _close(self, bracket: _Open, end: int) -> bool:
        """Put in choice and jumps; False when the bracket is none that prompts know."""
        separators = bracket.separators
        signs = {self._notes[place] for place in separators}
        if not separators:
            return True
        if bracket.sign == "(":
            return signs == {":"} and len(separators) == 1
        if signs == {"|"}:
            self._put(bracket.begin, [bracket.begin, *separators], end, None)
            return True
        last = self._notes[end - 1]
        when = _WHEN.fullmatch(last) if isinstance(last, str) else None
        if signs != {":"} or len(separators) > 2 or separators[-1] != end - 2 or when is None:
            return False
        # [to:when] has no text before: its first option is the closing bracket, which says nothing.
        begins = [end, bracket.begin] if len(separators) == 1 else [bracket.begin, separators[0]]
        self._put(bracket.begin, begins, end, self._clock.last_step_before(when[1]))
        for separator in separators:
            self._notes[separator] = end + 1
        return True

    def _put(self, begin: int, begins: list[int], end: int, until: int | None) -> None:
        for place in [*begins, end]:
            self._notes[place] = end + 1
        self._notes[begin] = _Choice(tuple(place + (place < end) for place in begins), until)
