"""The operator's token: what only whoever reads the console may do asks for it in a header."""

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from webui.app import App
from webui.errors import NotOperator

HEADER = "X-Easel-Operator"


def operator_check(app: App) -> Callable[[str], None]:
    """A dependency that raises `NotOperator` for requests without the token."""

    def check(operator: Annotated[str, Header(alias=HEADER, max_length=200)] = "") -> None:
        if not secrets.compare_digest(operator.encode(), app.settings.operator_token.encode()):
            raise NotOperator(
                "This needs the operator's token, which Easel prints in its console when it starts. Copy it from there."
            )

    return check
