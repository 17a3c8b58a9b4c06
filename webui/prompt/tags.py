"""Tags such as `<lora:name:0.8>`: found and taken out. What one does belongs to the extension of its kind."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_BEGIN = re.compile(r"<(\w++):")


@dataclass(frozen=True)
class Tag:
    """`<kind:name:value:key=value>`. All text as it was written; a name is a key of a registry, never a path."""

    kind: str
    name: str
    values: tuple[str, ...] = ()
    """What follows the name without a key, in order."""
    named: Mapping[str, str] = field(default_factory=dict, hash=False)


def take_tags(prompt: str) -> tuple[str, tuple[Tag, ...]]:
    """The prompt without its tags, no space touched, and the tags in order."""
    kept: list[str] = []
    tags: list[Tag] = []
    position = 0
    for begin in _BEGIN.finditer(prompt):
        if begin.start() < position:  # inside the tag before
            continue
        end = prompt.find(">", begin.end())
        if end < 0:
            break
        if end == begin.end():
            continue
        kept.append(prompt[position : begin.start()])
        tags.append(_tag(begin[1], prompt[begin.end() : end]))
        position = end + 1
    return "".join(kept) + prompt[position:], tuple(tags)


def _tag(kind: str, arguments: str) -> Tag:
    name, *others = arguments.split(":")
    named = dict(other.split("=", 1) for other in others if "=" in other)
    return Tag(kind, name, tuple(other for other in others if "=" not in other), named)
