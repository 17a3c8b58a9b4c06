"""What a line of a prompts file says: a plain prompt, or AUTOMATIC1111's flags. Knows no seeds and no order."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from webui.extension import InvalidRequest

TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")
FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "negative_prompt": ("negative_prompt", str),
    "seed": ("seed", int),
    "subseed": ("variation_seed", int),
    "subseed_strength": ("variation_strength", float),
    "seed_resize_from_h": ("seed_resize_height", int),
    "seed_resize_from_w": ("seed_resize_width", int),
    "sampler_name": ("sampler", str),
    "scheduler": ("schedule", str),
    "steps": ("num_inference_steps", int),
    "cfg_scale": ("guidance_scale", float),
    "width": ("width", int),
    "height": ("height", int),
    "batch_size": ("batch_size", int),
    "n_iter": ("batch_count", int),
    "sd_model": ("checkpoint", str),
}
"""Flag -> the request's field and how its text is read."""
SWITCHES = {"tiling": "tiling"}
OURS = ("prompt", "styles", "prompt_for_display")
OFF_ONLY = ("restore_faces", "do_not_save_samples", "do_not_save_grid")
"""Switches of what there is not here: false is what happens anyway."""
ELSEWHERE = ("outpath_samples", "outpath_grids", "sampler_index")
LONG = ("prompt", "negative_prompt")
"""Flags that take every word up to the next flag."""


@dataclass
class Line:
    """One line."""

    prompt: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    """Of the request, by field."""
    styles: list[str] = field(default_factory=list)
    shown: str = ""
    """What it is called."""


def read(text: str) -> list[Line]:
    """Every line that is not empty. Raises `InvalidRequest` with the number of the first line that cannot be read."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if stripped := line.strip().lstrip("\ufeff"):
            try:
                lines.append(_flags(stripped) if stripped.startswith("--") else Line(prompt=stripped, shown=stripped))
            except InvalidRequest as error:
                raise InvalidRequest("Line {number}: {reason}", number=number, reason=error.sentence) from error
    return lines


def _flags(text: str) -> Line:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidRequest("A quote is opened and never closed.") from error
    line = Line()
    while words:
        flag = words.pop(0)
        if not flag.startswith("--"):
            raise InvalidRequest(
                "'{word}' stands where a flag should. Put a text of several words in quotes.", word=flag[:80]
            )
        _take(line, flag.removeprefix("--"), _values_of(flag, words))
    line.shown = line.shown or line.prompt or text
    return line


def _values_of(flag: str, words: list[str]) -> Sequence[str]:
    taken = []
    while words and not words[0].startswith("--") and (not taken or flag.removeprefix("--") in LONG):
        taken.append(words.pop(0))
    if not taken:
        raise InvalidRequest("{flag} has no value.", flag=flag[:80])
    return taken


def _take(line: Line, flag: str, words: Sequence[str]) -> None:
    text = " ".join(words)
    if flag == "prompt":
        line.prompt = text
    elif flag == "prompt_for_display":
        line.shown = text
    elif flag == "styles":
        line.styles = [name.strip() for name in text.split(",") if name.strip()]
    elif flag in FIELDS:
        name, kind = FIELDS[flag]
        line.values[name] = _number(flag, text, kind)
    elif flag in SWITCHES:
        line.values[SWITCHES[flag]] = _switch(flag, text)
    elif flag in OFF_ONLY and not _switch(flag, text):
        return
    else:
        raise _refused(flag)


def _number(flag: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise InvalidRequest("--{flag} needs a number, not '{value}'.", flag=flag, value=text[:80]) from None


def _switch(flag: str, text: str) -> bool:
    if text.lower() not in (*TRUE, *FALSE):
        raise InvalidRequest("--{flag} is true or false, not '{value}'.", flag=flag, value=text[:80])
    return text.lower() in TRUE


def _refused(flag: str) -> InvalidRequest:
    known = ", ".join(f"--{name}" for name in (*OURS, *FIELDS, *SWITCHES))
    if flag in (*OFF_ONLY, *ELSEWHERE):
        return InvalidRequest("--{flag} is not possible here. Possible: {known}.", flag=flag, known=known)
    return InvalidRequest("There is no flag --{flag}. Possible: {known}.", flag=flag[:80], known=known)
