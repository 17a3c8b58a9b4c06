"""From what a picture says to values of a request: each checked by the request's own limits, the rest named with why.

Names of samplers are looked up, never guessed; numbers that lie outside are moved to the limit and that is said.
Knows no file format.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from webui.errors import UserError
from webui.params import Parameter, parameters
from webui.registry import SAMPLERS, SCHEDULES, canonical_sampler
from webui.requests import REQUESTS, TextToImage, build
from webui.sentences import Sentence

MAX_UNMAPPED = 100
_SHOWN = 200
"""Characters of a value that could not be taken."""
_NUMBER = re.compile(r"\s*[+-]?\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?\s*")
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
"""An escape in JSON: a whole surrogate pair, half of one, or the beginning of any other."""
_PLACEHOLDER = "0" * 32
"""Stands for a picture that a request needs and metadata never hold."""
_FROM_A_PERSON = ("image", "mask")


@dataclass(frozen=True)
class Unmapped:
    """Something the picture says that its values do not hold, or hold changed."""

    name: str
    """As the picture has it."""
    value: str
    why: Sentence


class Mapped:
    """Collects the values of one picture. The first value of a name stays."""

    def __init__(self, tool: str, kind: str = TextToImage.kind) -> None:
        self.tool = tool
        self.kind = kind
        self.parameters = ""
        """Raw text in which the values were found."""
        self.fields: dict[str, str] = {}
        """Everything the picture says, for people."""
        self._values: dict[str, object] = {}
        self.unmapped: list[Unmapped] = []

    @property
    def values(self) -> Mapping[str, object]:
        """Values of a request of `kind` that is certain to be possible."""
        return self._values

    def show(self, name: str, value: object) -> None:
        """Keep what the picture says under its own name."""
        if value is not None and len(self.fields) < 1000:
            self.fields.setdefault(str(name)[:_SHOWN], value if isinstance(value, str) else as_text(value))

    def refuse(self, name: str, value: object, why: Sentence) -> None:
        if len(self.unmapped) < MAX_UNMAPPED:
            self.unmapped.append(Unmapped(name[:_SHOWN], as_text(value)[:_SHOWN], why))

    def without_setting(self, name: str, value: object) -> None:
        """Say that there is no counterpart for a field here."""
        self.refuse(name, value, Sentence("Easel has no setting for it."))

    def take(self, name: str, field: str, value: object) -> None:
        """Check `value`, which the picture calls `name`, for `field` of the request; None is no value."""
        if value is None or field in self._values:
            return
        declared = parameters(REQUESTS[self.kind]).get(field)
        if declared is None:
            self.without_setting(name, value)
        elif field == "sampler":
            self._take_sampler(name, value)
        elif field == "schedule":
            self._take_schedule(name, value)
        elif field in ("extensions", "branch_from"):
            self._values[field] = read_json(value) if isinstance(value, str) else value
        elif declared.type in (int, float):
            self._take_number(name, declared, value)
        else:
            self._take_plain(name, declared, value)

    def _take_sampler(self, name: str, value: object) -> None:
        sampler, schedule = canonical_sampler(str(value).strip())
        if sampler not in SAMPLERS:
            self.refuse(name, value, Sentence("Easel does not know this name."))
            return
        self._values["sampler"] = sampler
        if schedule:
            self._values["schedule"] = schedule

    def _take_schedule(self, name: str, value: object) -> None:
        names = {schedule.casefold(): schedule for schedule in SCHEDULES}
        schedule = names.get(str(value).strip().casefold())
        if schedule is None:
            self.refuse(name, value, Sentence("Easel does not know this name."))
        else:
            self._values["schedule"] = schedule

    def _take_number(self, name: str, declared: Parameter, value: object) -> None:
        number = as_number(value)
        if number is None or (declared.type is int and number != int(number)):
            self.refuse(name, value, Sentence("It is not a number that fits."))
            return
        least, most = declared.param.minimum, declared.param.maximum
        low, high = (-math.inf if least is None else least), (math.inf if most is None else most)
        if declared.name == "seed":
            low = 0  # -1 would draw a new one
            if not low <= number <= high:
                self.refuse(name, value, _limits(low, high))
                return
        near = min(max(number, low), high)
        if declared.name in ("width", "height"):
            near -= near % 8
        result = int(near) if declared.type is int else float(near)
        if result != number:
            changed = Sentence("Changed to {value}, the nearest that is possible.", value=result)
            self.refuse(name, value, changed)
        self._values[declared.name] = result

    def _take_plain(self, name: str, declared: Parameter, value: object) -> None:
        most = declared.param.max_length
        if declared.type is bool and isinstance(value, str):
            value = {"true": True, "false": False}.get(value.strip().casefold())
        if declared.type in (str, bool) and type(value) is not declared.type:
            self.refuse(name, value, Sentence("It is not a value that fits."))
        elif isinstance(value, str) and most is not None and len(value) > most:
            self.refuse(name, value, Sentence("It has more than {most} characters.", most=f"{most:,}"))
        else:
            self._values[declared.name] = value

    def check(self) -> "Mapped":
        """Leave out whatever the request type refuses, alone or together with the values before it, and say so."""
        if self._is_possible(self._values):
            return self
        kept: dict[str, object] = {}
        for field, value in self._values.items():
            if self._is_possible({**kept, field: value}):
                kept[field] = value
            elif kept and self._is_possible({field: value}):
                self.refuse(field, value, Sentence("It does not go together with the other values."))
            else:
                self.refuse(field, value, Sentence("It is not a value that fits."))
        self._values = kept
        return self

    def _is_possible(self, values: Mapping[str, object]) -> bool:
        needed = {name: _PLACEHOLDER for name in _FROM_A_PERSON if name in parameters(REQUESTS[self.kind])}
        try:
            build(self.kind, {**needed, **values})
        except UserError:
            return False
        return True


def _limits(least: float, most: float) -> Sentence:
    return Sentence("It does not lie between {least} and {most}.", least=f"{least:,.0f}", most=f"{most:,.0f}")


def as_number(value: object) -> int | float | None:
    """A finite number, or text that is one; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value) if any(mark in value for mark in ".eE") else int(value)
    if isinstance(value, int | float) and abs(value) < 1e30:
        return value
    return None


def as_text(value: object) -> str:
    """Text to show: strings as they are, all else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)[:100_000]
    except (ValueError, TypeError, RecursionError):
        return ""


def read_json(text: str) -> object:
    """The value; None for what is no JSON, nested too deeply, or holds numbers of absurd length.

    Half a surrogate pair, which JSON can spell and no encoding can write, becomes the replacement character.
    """
    try:
        return json.loads(_ESCAPE.sub(_without_half, text)) if text else None
    except (ValueError, RecursionError, OverflowError):
        return None


def _without_half(escape: re.Match[str]) -> str:
    return r"\ufffd" if escape["half"] else escape[0]


def as_object(value: object) -> dict[str, object]:
    """A JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def show_all(mapped: Mapped, items: Iterable[tuple[str, object]]) -> None:
    """Keep every item for people."""
    for name, value in items:
        mapped.show(name, value)
