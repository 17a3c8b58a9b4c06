"""/models: looking through every shelf, and what a person keeps of a model. Throwing away needs the operator's token.

Lists of everything at once, pictures and metadata are with the catalogue; merging and converting are jobs.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from webui.api.v1.operator import operator_check
from webui.app import App
from webui.model_desk import Query as Wanted

PREFIX = "/models"
MOST = 500
Name = Annotated[str, Query(max_length=1000)]
Text = Annotated[str, Query(max_length=500)]


class Notes(BaseModel):
    """What a person writes about a model."""

    model_config = ConfigDict(extra="forbid")

    notes: str = ""
    tags: list[str] = Field(default_factory=list)


class Defaults(BaseModel):
    """Values that pictures of a checkpoint begin with, by field; none at all forgets them."""

    model_config = ConfigDict(extra="forbid")

    values: dict[str, Any] = Field(default_factory=dict)


class Preview(BaseModel):
    """A picture of the gallery by its id; null: none any more."""

    model_config = ConfigDict(extra="forbid")

    picture: Annotated[str, Field(max_length=64)] | None = None


class Trashed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(max_length=64)]


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix=PREFIX)
    desk = app.model_desk

    @router.get("/search")
    def search(
        q: Text = "", shelf: Text = "", family: Text = "", tag: Text = "", broken: bool = False, sort: Text = "name",
        offset: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> JSONResponse:  # fmt: skip
        """A page of the models of all shelves, or of one, in the order "name", "newest", "largest" or "family"."""
        wanted = Wanted(text=q, shelf=shelf, family=family, tag=tag, broken=broken, sort=sort)
        return JSONResponse(desk.search(wanted, offset, limit))

    @router.get("/{shelf}/passport")
    def passport(shelf: str, name: Name) -> JSONResponse:
        """Everything that is known of a model: sizes, family, metadata, licence, notes, defaults."""
        return JSONResponse(desk.passport(shelf, name))

    @router.put("/{shelf}/notes")
    def notes(shelf: str, name: Name, body: Notes) -> JSONResponse:
        """Keep notes and tags of a model in a file beside it."""
        desk.keep_notes(shelf, name, body.notes, body.tags)
        return JSONResponse(desk.passport(shelf, name))

    @router.put("/{shelf}/defaults")
    def defaults(shelf: str, name: Name, body: Defaults) -> JSONResponse:
        """Keep values that requests with this checkpoint take when they name none: VAE, clip skip, steps, …"""
        desk.keep_defaults(shelf, name, body.values)
        return JSONResponse(desk.passport(shelf, name))

    @router.put("/{shelf}/preview")
    def preview(shelf: str, name: Name, body: Preview) -> JSONResponse:
        """Show a picture of the gallery on the model's card."""
        desk.set_preview(shelf, name, body.picture)
        return JSONResponse(desk.passport(shelf, name))

    @router.post("/{shelf}/hash")
    def make_hash(shelf: str, name: Name) -> dict[str, Any]:
        """Begin to read the file for its SHA-256, unless that is known."""
        return desk.hashing.start(desk.model(shelf, name))

    @router.get("/{shelf}/hash")
    def hash_state(shelf: str, name: Name) -> dict[str, Any]:
        """The SHA-256, or how many bytes have been read for it."""
        return desk.hashing.state(desk.model(shelf, name))

    both = APIRouter(tags=["models"])
    both.include_router(router)
    both.include_router(_of_operator(app))
    return both


def _of_operator(app: App) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(operator_check(app.settings))])
    desk = app.model_desk

    @router.get("/trash")
    def trash() -> dict[str, Any]:
        """What lies in the trash of the models folder."""
        return {"trash": desk.trash.all()}

    @router.post("/{shelf}/trash")
    def throw_away(shelf: str, name: Name) -> dict[str, Any]:
        """Move a model and what lies beside it into the trash."""
        return {"id": desk.throw_away(shelf, name)}

    @router.post("/restore")
    def restore(trashed: Trashed) -> dict[str, Any]:
        """Bring a model back from the trash."""
        desk.bring_back(trashed.id)
        return {"id": trashed.id}

    return router
