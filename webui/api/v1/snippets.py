"""/snippets: a form or a picture as a command line and as a program, to copy."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from webui import snippets
from webui.api.v1.answers import Snippet
from webui.app import App


class Wanted(BaseModel):
    """A request that somebody wants to make again from elsewhere."""

    model_config = ConfigDict(extra="forbid")

    kind: str = "txt2img"
    values: dict[str, Any] = Field(default_factory=dict)
    styles: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)


def routes(app: App) -> APIRouter:
    router = APIRouter(tags=["snippets"])

    @router.post("/snippets", responses={200: {"model": Snippet}})
    def snippet(wanted: Wanted, request: Request) -> dict[str, str]:
        """The same request for curl and for Python. What could not be asked for is refused here already."""
        app.check(wanted.kind, wanted.values, wanted.styles)
        address = str(request.base_url).rstrip("/")  # by whatever name the server is reached: the gate has checked it
        told = wanted.kind, wanted.values, wanted.styles
        token = app.settings.listen
        return {
            "curl": snippets.curl(address, *told, token=token),
            "python": snippets.python(address, *told, token=token),
        }

    return router
