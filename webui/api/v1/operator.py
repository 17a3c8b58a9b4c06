"""Who may change what holds for everybody: whoever sits at the machine, and on `--listen` whoever has the token of its
console. Knows no route.
"""

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from webui.errors import NotOperator
from webui.settings import Settings

HEADER = "X-Easel-Operator"


def require_operator(settings: Settings, operator: str) -> None:
    """Raises `NotOperator`."""
    if not secrets.compare_digest(operator.encode(), settings.operator_token.encode()):
        raise NotOperator(
            "This needs the operator's token, which Easel prints in its console when it starts. Copy it from there."
        )


def operator_check(settings: Settings) -> Callable[[str], None]:
    """A dependency of routes that refuses whoever does not send the token."""

    def check(operator: Annotated[str, Header(alias=HEADER, max_length=200)] = "") -> None:
        require_operator(settings, operator)

    return check


def operator_where_exposed(settings: Settings) -> Callable[[str], None]:
    """The same on `--listen` alone: on loopback everybody is at the machine."""

    def check(operator: Annotated[str, Header(alias=HEADER, max_length=200)] = "") -> None:
        if settings.listen:
            require_operator(settings, operator)

    return check
