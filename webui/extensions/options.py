"""Options of extensions inside a request: built, refused by name, and reduced to what differs from the defaults.

Knows the classes that it is given and no extension.
"""

import dataclasses
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from webui.errors import ExtensionError, UnknownName
from webui.params import parameters
from webui.requests import construct

Values = Mapping[str, Mapping[str, Any]]
"""Option by extension."""

KINDS = (bool, int, float, str)


def options_of(module: ModuleType, title: str) -> type:
    """The class of a module options.py or script.py. Raises `ExtensionError` when it is not what the contract says."""
    declared = getattr(module, "Options", None)
    if not isinstance(declared, type) or not dataclasses.is_dataclass(declared):
        raise ExtensionError("{title} is without a class Options under @options.", title=title)
    try:
        for name, field in parameters(declared).items():
            if field.type not in KINDS or field.default is dataclasses.MISSING:
                raise TypeError(f"{name} must be a bool, int, float or str with a default")
        declared()
    except Exception as error:  # whatever its checks do
        raise ExtensionError("The options of {title} are wrong: {reason}.", title=title, reason=str(error)) from error
    return declared


def checked(values: Values, types: Mapping[str, type]) -> dict[str, dict[str, Any]]:
    """The same without what is at its default, so that only extensions that do something are left.

    Raises `UnknownName` for an extension or option that is not there, `InvalidRequest` for a wrong value.
    """
    kept: dict[str, dict[str, Any]] = {}
    for name, named in values.items():
        if name not in types:
            raise UnknownName("extension", str(name), types)
        built: object = construct(types[name], named)
        fields = parameters(types[name])
        different = {option: value for option in fields if (value := getattr(built, option)) != fields[option].default}
        if different:
            kept[name] = different
    return kept
