"""What is said to a person: an English template and its values, so that a page can say it in another language.

The template is the key under which `ui/languages/` holds the translations. Knows no language but English.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

Value = Union[str, int, float, "Sentence"]
"""A value that is a `Sentence` is translated too, by its own template."""

PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, init=False)
class Sentence:
    """`Sentence("{name} is missing.", name="vae")`: `str()` of it is the finished English text.

    A placeholder is a plain {name}; numbers that need a form of their own are given as text.
    """

    template: str
    values: Mapping[str, Value] = field(hash=False)

    def __init__(self, template: str, /, **values: Value) -> None:
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        # Not str.format: a wrong placeholder must not hide the error that is being told, nor read attributes.
        return PLACEHOLDER.sub(lambda match: str(self.values.get(match[1], match[0])), self.template)

    def to_json(self) -> dict[str, Any]:
        """{"text": the English, "template", "values"}; values that are sentences have the same shape."""
        values = {
            name: value.to_json() if isinstance(value, Sentence) else value for name, value in self.values.items()
        }
        return {"text": str(self), "template": self.template, "values": values}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Sentence":
        """The inverse of `to_json`."""
        return cls(
            told["template"],
            **{
                name: cls.from_json(value) if isinstance(value, dict) else value
                for name, value in told["values"].items()
            },
        )
