"""How much a prompt may hold, in one place. A text within these limits is always understood somehow."""

from collections.abc import Iterable

from webui.errors import InvalidRequest

MAX_CHARACTERS = 32_000
"""Of one prompt after styles and wildcards: over a hundred chunks of 75 tokens."""
MAX_PARTS = 64
"""Parts joined with AND: each costs a model call at every step."""
MAX_CHARACTERS_OF_STEPS = 1_000_000
"""Of all different texts that the steps of one prompt need together."""
MAX_WEIGHT = 1000.0
"""Hidden states times more than this leave the range of half precision and the picture would be black."""
NAMES_TOLD = 20
"""Of a long list, in a message."""


def check_length(text: str) -> str:
    """The text itself. Raises `InvalidRequest` when it is longer than a prompt can be."""
    check_characters(len(text))
    return text


def check_characters(length: int, most: int = MAX_CHARACTERS) -> None:
    """Raises `InvalidRequest` when a text of that length is longer than a prompt, or one of its kind, can be."""
    if length > most:
        raise InvalidRequest(
            "The prompt has {length} characters with its styles and wildcards; {most} are possible. Shorten it.",
            length=f"{length:,}",
            most=f"{most:,}",
        )


def limited(weight: float) -> float:
    """The weight, brought into ±`MAX_WEIGHT`."""
    return max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))


def told(names: Iterable[str]) -> list[str]:
    """The names for a message: the first of them when they are many."""
    listed = sorted(names)
    return listed if len(listed) <= NAMES_TOLD else [*listed[:NAMES_TOLD], "…"]
