"""Ties the prompt language together: what is encoded for one picture, and which of it holds at which step.

`finish` makes the text that is read, `plan` reads it. Numbers for tensors are the engine's matter.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from webui.prompt.chunks import TokenCount, Vocabulary, count_tokens
from webui.prompt.comments import without_comments
from webui.prompt.composition import Part, parts
from webui.prompt.limits import check_length
from webui.prompt.schedule import Clock, schedule
from webui.prompt.styles import apply_styles
from webui.prompt.tags import Tag, take_tags
from webui.prompt.weights import Sections, sections
from webui.prompt.wildcards import Wildcards, expand


@dataclass(frozen=True)
class Phase:
    """What a part says from the end of the phase before until a step."""

    until: int
    """Its last step, counted from 1."""
    text: str
    sections: Sections
    """The text as weighted pieces, ready for `chunks`."""


@dataclass(frozen=True)
class PlannedPart:
    """One of the prompts that AND joins."""

    weight: float
    phases: tuple[Phase, ...]
    """At least one, in order."""

    def at(self, step: int) -> Phase:
        """What holds at `step`, counted from 1. Beyond the end the last phase goes on."""
        found = bisect_left(self.phases, step, key=lambda phase: phase.until)
        return self.phases[min(found, len(self.phases) - 1)]


@dataclass(frozen=True)
class PromptPlan:
    """A prompt understood."""

    parts: tuple[PlannedPart, ...]
    """At least one; a negative prompt has exactly one."""
    tags: tuple[Tag, ...] = ()

    @property
    def texts(self) -> dict[str, Sections]:
        """Every different text that has to be encoded, with its pieces, in order of its first use."""
        return {phase.text: phase.sections for part in self.parts for phase in part.phases}

    @property
    def is_combined(self) -> bool:
        """Whether AND joins several prompts, or one counts more or less than 1."""
        return [part.weight for part in self.parts] != [1.0]

    @property
    def uses_emphasis(self) -> bool:
        """Whether any weight is not 1, so that the way of emphasis changes the picture."""
        pieces = (piece for said in self.texts.values() for section in said for piece in section)
        return any(piece.weight != 1 for piece in pieces)

    def count(self, vocabulary: Vocabulary, *, comma_backtrack: int) -> TokenCount:
        """Tokens of the longest text, by the same chunks that are encoded."""
        return count_tokens(self.texts.values(), vocabulary, comma_backtrack=comma_backtrack)


def finish(
    prompt: str,
    *,
    styles: Iterable[str] = (),
    comments: bool = True,
    wildcards: Wildcards | None = None,
    seed: int = 0,
    is_negative: bool = False,
) -> str:
    """The text that makes the picture of `seed`: styles applied, comments removed, wildcards chosen.

    `styles` are the style texts for this prompt, in order. None for wildcards leaves `__name__` as it is.
    Raises `InvalidRequest` or `UnknownName` for what is too long or not there.
    """
    text = apply_styles(check_length(prompt), styles)
    if comments:
        text = without_comments(text)
    if wildcards is not None:
        text = expand(text, wildcards, f"{seed}/{'negative' if is_negative else 'positive'}")
    return text


def plan(prompt: str, clock: Clock, *, is_negative: bool = False, emphasis: str = "Original") -> PromptPlan:
    """Read a finished prompt for one pass: `clock(steps)`, or `clock(steps, hires_steps=…)` for the second.

    A negative prompt has no tags and no AND: both are words there. Any text is understood somehow; raises
    `InvalidRequest` only for what is too long, has too many parts or changes too often.
    """
    check_length(prompt)
    if is_negative:
        return PromptPlan((_planned(Part(prompt), clock, emphasis),))
    text, tags = take_tags(prompt)
    return PromptPlan(tuple(_planned(part, clock, emphasis) for part in parts(text)), tags)


def _planned(part: Part, clock: Clock, emphasis: str) -> PlannedPart:
    entries = schedule(part.text, clock)
    understood = {text: sections(text, emphasis) for _, text in entries}
    return PlannedPart(part.weight, tuple(Phase(until, text, understood[text]) for until, text in entries))
