"""What a field of a request says about itself: range, step, label, help.

Declared once beside the field, read back by the page, the API's schema, the documentation and the tests.
"""

import dataclasses
import functools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import GroupedMetadata
from pydantic import AfterValidator, Field

from webui.errors import UnknownName


@dataclass(frozen=True)
class Param(GroupedMetadata):
    """Limits and words of one field. pydantic enforces the limits; `label` and `help` are for people."""

    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    label: str = ""
    help: str = ""
    max_length: int | None = None
    choices: str = ""
    """Name of the registry whose names are the possible values, e.g. "sampler"."""
    suggestions: str = ""
    """Whose files can be named: "checkpoints", "vae" or "upscalers" of the models folder."""

    values: tuple[str, ...] = ()
    """The possible values of an extension's option, where no registry has them."""

    def __iter__(self) -> typing.Iterator[object]:
        limits: dict[str, Any] = {"description": self.help, "title": self.label}
        if self.minimum is not None or self.maximum is not None:
            limits |= {"ge": self.minimum, "le": self.maximum, "allow_inf_nan": False}
        if self.max_length is not None:
            limits["max_length"] = self.max_length
        yield Field(**limits)
        if self.values:
            yield AfterValidator(self._one_of_values)

    def _one_of_values(self, value: str) -> str:
        if value not in self.values:
            raise UnknownName("value", value, self.values)
        return value


class ByServer:
    """Marks a field that the server fills in: it is no parameter, nobody can ask for it."""


@dataclass(frozen=True)
class Parameter:
    """A field of a request together with what it says about itself."""

    name: str
    type: type
    default: Any
    """The field's own default; anything its type admits."""
    param: Param


def parameters(request_type: type) -> Mapping[str, Parameter]:
    """The declared parameters of a request type, in order. Every field must carry a `Param`, or `ByServer`."""
    return _declared(request_type)


@functools.cache  # a class does not change, and the metadata of one picture ask hundreds of times
def _declared(request_type: type) -> Mapping[str, Parameter]:
    hints = get_type_hints(request_type, include_extras=True)
    return MappingProxyType(
        {
            field.name: _parameter(field.name, hints[field.name], _default(field))
            for field in dataclasses.fields(request_type)
            if ByServer not in get_args(hints[field.name])
        }
    )


def _default(field: "dataclasses.Field[Any]") -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _parameter(name: str, hint: object, default: object) -> Parameter:
    if get_origin(hint) is Annotated:
        plain, *extras = get_args(hint)
        for extra in extras:
            if isinstance(extra, Param):
                return Parameter(name, plain, default, extra)
    raise TypeError(f"Field '{name}' has no Param: add its label, help and limits.")
