"""The fields of every kind of request as JSON Schema, for the OpenAPI document. Decides nothing."""

from dataclasses import MISSING
from typing import Any

from webui.params import Parameter, parameters
from webui.registry import CHOICES
from webui.requests import REQUESTS

TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def values_schema() -> dict[str, Any]:
    """What the `values` of a job may be: those of one of the kinds."""
    return {"anyOf": [_of_kind(kind) for kind in REQUESTS]}


def _of_kind(kind: str) -> dict[str, Any]:
    fields = parameters(REQUESTS[kind]).values()
    required = [field.name for field in fields if field.default is MISSING]
    schema: dict[str, Any] = {
        "type": "object",
        "title": kind,
        "properties": {field.name: _of_field(field) for field in fields},
        "additionalProperties": False,
    }
    return {**schema, "required": required} if required else schema


def _of_field(field: Parameter) -> dict[str, Any]:
    param = field.param
    known = {
        "type": TYPES.get(field.type),
        "title": param.label,
        "description": param.help,
        "minimum": param.minimum,
        "maximum": param.maximum,
        "maxLength": param.max_length,
        "enum": list(param.values or CHOICES.get(param.choices, ())) or None,
        "default": field.default if field.type in TYPES and field.default is not MISSING else None,
    }
    return {name: value for name, value in known.items() if value is not None}
