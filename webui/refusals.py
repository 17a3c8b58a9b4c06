"""What pydantic refuses, in words: the first wrong value and what it may be. Knows no request type."""

from typing import get_origin

from pydantic import ValidationError

from webui.errors import InvalidRequest
from webui.params import Parameter, parameters
from webui.sentences import Sentence


def refusal(request_type: type, error: ValidationError) -> InvalidRequest:
    """Names the first wrong value and what it may be."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    declared = parameters(request_type).get(name)
    if declared is None:
        return InvalidRequest("{reason}.", reason=str(first["msg"]))
    param, label, value = declared.param, Sentence(declared.param.label), repr(str(first.get("input"))[:60])
    match first["type"]:
        case "missing":
            return InvalidRequest(
                "{label} ({name}) is missing. {help}", label=label, name=name, help=Sentence(param.help)
            )
        case "string_pattern_mismatch":
            return InvalidRequest(
                "{label} ({name}) cannot be {value}. {help}",
                label=label, name=name, value=value, help=Sentence(param.help),
            )  # fmt: skip
        case "string_too_long":
            most = f"{param.max_length:,}"
            return InvalidRequest("{label} ({name}) has {most} characters at most.", label=label, name=name, most=most)
    return InvalidRequest(
        "{label} ({name}) must be {possible}, not {value}.",
        label=label, name=name, possible=_possible(declared), value=value,
    )  # fmt: skip


def _possible(declared: Parameter) -> Sentence:
    """What a value may be, to complete "it must be …"."""
    param = declared.param
    if declared.type is bool:
        return Sentence("true or false")
    if get_origin(declared.type) is tuple:
        return Sentence("a list of names")
    if declared.type not in (str, int, float):
        return Sentence("values by name")
    if declared.type is str or param.minimum is None or param.maximum is None:
        return Sentence("text") if declared.type is str else Sentence("a number")
    least, most = f"{param.minimum:,}", f"{param.maximum:,}"
    if declared.type is int:
        return Sentence("a whole number from {least} to {most}", least=least, most=most)
    return Sentence("a number from {least} to {most}", least=least, most=most)
