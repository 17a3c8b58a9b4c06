"""/settings: every option of webui/options.py with what it says about itself, and changing them."""

from typing import Annotated, Any, get_origin

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from webui.api.v1.operator import operator_where_exposed
from webui.app import App
from webui.naming import TOKENS
from webui.options import GROUPS, SEVERAL, Options
from webui.params import Parameter, parameters

TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


class Changes(BaseModel):
    """New values by name; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    values: Annotated[dict[str, Any], Field(max_length=100)]


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/settings", tags=["settings"])

    @router.get("")
    def settings() -> dict[str, Any]:
        """Every setting by group, its value, default, limits and words."""
        return _told(app)

    @router.patch("", dependencies=[Depends(operator_where_exposed(app.settings))])
    def change(body: Changes) -> dict[str, Any]:
        """Change some; one that is wrong changes none. With --listen this needs the operator's token."""
        if name := body.values.get("default_checkpoint"):
            app.library.find(str(name))
        app.options.change(**body.values)
        return _told(app)

    return router


def _told(app: App) -> dict[str, Any]:
    options, warning = app.options.current, app.options.warning
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    return {
        "settings": [_setting(group_of[name], each, getattr(options, name)) for name, each in _declared().items()],
        "tokens": list(TOKENS),
        "needs_operator": app.settings.listen,
        "warning": None if warning is None else warning.to_json(),
    }


def _declared() -> dict[str, Parameter]:
    """In the order in which the tab shows them."""
    declared = parameters(Options)
    return {name: declared[name] for names in GROUPS.values() for name in names}


def _setting(group: str, declared: Parameter, value: object) -> dict[str, Any]:
    param = declared.param
    several = get_origin(declared.type) is tuple
    return {
        "name": declared.name,
        "group": group,
        "type": "names" if several else TYPES[declared.type],
        "label": param.label,
        "help": param.help,
        "value": value,
        "default": declared.default,
        "minimum": param.minimum,
        "maximum": param.maximum,
        "step": param.step,
        "choices": list(SEVERAL[declared.name] if several else param.values) or None,
        "suggestions": param.suggestions or None,
    }
