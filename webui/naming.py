"""File and folder names from patterns such as "[date]/[model_name]" and "[seed]-[prompt_words]", safe on any system.

What a value looks like is decided here; which picture has which values, and which name is still free, is not.
A value never becomes a folder: only the slashes that stand in the pattern itself divide it.
"""

import contextlib
import datetime
import hashlib
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webui.errors import UnknownName

LONGEST_NAME = 128
"""Bytes of one part of a path, number and ending not counted, as in AUTOMATIC1111."""
MOST_WORDS = 8
HASH_LENGTH = 8
DATETIME = "%Y%m%d%H%M%S"

_TOKEN = re.compile(r"\[([a-z_]+)((?:<[^<>\[\]]*>)*)\]")
_SLASH = re.compile(r"[/\\](?![^<>\[\]]*>)")
"""Not the one in a time zone's name."""
_ARGUMENT = re.compile(r"<([^<>]*)>")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f#<>:"/\\|?*]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices, with any ending."""
_NO_WORD = re.compile(r"[\s" + re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + "]+")


@dataclass(frozen=True, kw_only=True)
class Named:
    """One picture, as far as its name may tell of it."""

    values: Mapping[str, Any]
    """The resolved request; an enlargement has no prompt and no seed of its own."""
    number: int
    """0-based, over all batches of the job."""
    seed: int
    width: int
    height: int
    model_hash: str = ""
    made: datetime.datetime = field(default_factory=lambda: datetime.datetime.now().astimezone())
    started: datetime.datetime | None = None
    """When the job began; None: as `made`."""
    content: bytes = b""

    @property
    def pictures(self) -> int:
        return int(self.values.get("batch_count", 1)) * int(self.values.get("batch_size", 1))

    def text(self, name: str) -> str | None:
        """A value as text; None for one that is not there or says nothing."""
        value = self.values.get(name)
        return None if value in (None, "") else str(value)


Arguments = Sequence[str]
Maker = Callable[[Named, Arguments], str | None]
"""Gives a token's text; None lets the token disappear together with the text before it."""


def file_name(pattern: str, picture: Named) -> str:
    """One part of a path, "" when nothing is left of it. Slashes of the pattern are no folders here."""
    return _safe(_filled(_SLASH.sub("_", pattern), picture))


def folder_name(pattern: str, picture: Named) -> str:
    """A relative path with forward slashes, "" for the folder itself; it never leads out of it."""
    parts = (_safe(_filled(part, picture)) for part in _SLASH.split(pattern))
    return "/".join(part for part in parts if part)


def check_pattern(pattern: str) -> str:
    """The pattern itself. Raises `UnknownName` for a token that there is not."""
    for name, _ in _tokens(pattern):
        if name not in TOKENS:
            raise UnknownName("token", name, TOKENS)
    return pattern


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    yield from ((match[1], match[2]) for match in _TOKEN.finditer(pattern))


def _filled(pattern: str, picture: Named) -> str:
    """A token without a value takes the literal text before it along, as in AUTOMATIC1111."""
    result, end = "", 0
    for match in _TOKEN.finditer(pattern):
        between, end = pattern[end : match.start()], match.end()
        value = TOKENS[match[1]](picture, _ARGUMENT.findall(match[2])) if match[1] in TOKENS else match[0]
        if value is not None:
            result += between + value
    return result + pattern[end:]


def _safe(name: str) -> str:
    """As one file name of any system: no path, no device, nothing hidden, not too long."""
    plain = _FORBIDDEN.sub("_", name.encode("utf-8", "ignore").decode())
    cut = plain.encode()[:LONGEST_NAME].decode("utf-8", "ignore").strip(" .")
    return f"_{cut}" if _RESERVED.fullmatch(cut) else cut


def _datetime(picture: Named, arguments: Arguments) -> str:
    """[datetime<format><time zone>]; what cannot be understood is left at the usual."""
    when = picture.made
    if len(arguments) > 1:
        with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            when = when.astimezone(zoneinfo.ZoneInfo(arguments[1]))
    try:
        return when.strftime(arguments[0] if arguments and arguments[0] else DATETIME)
    except ValueError:
        return when.strftime(DATETIME)


def _hashed(text: str | bytes, arguments: Arguments) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "replace") if isinstance(text, str) else text).hexdigest()
    asked = arguments[0] if arguments else ""
    length = int(asked) if asked.isascii() and asked.isdigit() else HASH_LENGTH
    return digest[: length or HASH_LENGTH]


def _words(picture: Named, arguments: Arguments) -> str | None:
    words = [word for word in _NO_WORD.split(picture.text("prompt") or "") if word]
    return " ".join(words[:MOST_WORDS]) or None


def _has_prompt(picture: Named, arguments: Arguments) -> str:
    """[hasprompt<cat|no cat><dog>]: each word that the prompt has, else what stands behind its bar."""
    prompt = (picture.text("prompt") or "").lower()
    choices = (argument.partition("|") for argument in arguments)
    return "".join(word if word.lower() in prompt else other for word, _, other in choices)


def _sampler_and_schedule(picture: Named, arguments: Arguments) -> str | None:
    sampler, schedule = picture.text("sampler"), picture.text("schedule")
    return sampler if sampler is None or schedule in (None, "Automatic") else f"{sampler} {schedule}"


def _underscored(text: str | None) -> str | None:
    return None if text is None else text.replace(" ", "_")


def _of(name: str) -> Maker:
    return lambda picture, arguments: picture.text(name)


TOKENS: Mapping[str, Maker] = {
    "seed": lambda picture, _: str(picture.seed),
    "seed_first": lambda picture, _: picture.text("seed") or str(picture.seed),
    "seed_last": lambda picture, _: (
        None if picture.pictures == 1 else str(int(picture.values.get("seed", picture.seed)) + picture.pictures - 1)
    ),
    "steps": _of("num_inference_steps"),
    "cfg": _of("guidance_scale"),
    "width": lambda picture, _: str(picture.width),
    "height": lambda picture, _: str(picture.height),
    "sampler": _of("sampler"),
    "scheduler": _of("schedule"),
    "sampler_scheduler": _sampler_and_schedule,
    "clip_skip": _of("clip_skip"),
    "denoising": _of("strength"),
    "model_name": _of("checkpoint"),
    "model_hash": lambda picture, _: picture.model_hash or None,
    "vae_filename": _of("vae"),
    "date": lambda picture, _: f"{picture.made:%Y-%m-%d}",
    "datetime": _datetime,
    "job_timestamp": lambda picture, _: f"{picture.started or picture.made:%Y%m%d%H%M%S}",
    "prompt": lambda picture, _: _underscored(picture.text("prompt")),
    "prompt_spaces": _of("prompt"),
    "prompt_words": _words,
    "prompt_hash": lambda picture, arguments: _hashed(picture.text("prompt") or "", arguments),
    "negative_prompt_hash": lambda picture, arguments: _hashed(picture.text("negative_prompt") or "", arguments),
    "full_prompt_hash": lambda picture, arguments: _hashed(
        f"{picture.text('prompt') or ''} {picture.text('negative_prompt') or ''}", arguments
    ),
    "image_hash": lambda picture, arguments: _hashed(picture.content, arguments),
    "hasprompt": _has_prompt,
    "batch_number": lambda picture, _: (
        None if int(picture.values.get("batch_size", 1)) == 1
        else str(picture.number % int(picture.values["batch_size"]) + 1)
    ),
    "batch_size": _of("batch_size"),
    "generation_number": lambda picture, _: None if picture.pictures == 1 else str(picture.number + 1),
    "none": lambda picture, _: "",
}  # fmt: skip
"""AUTOMATIC1111's tokens, all but [styles], [prompt_no_styles], [user] and [basename], which say nothing here."""
