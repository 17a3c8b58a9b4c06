"""/presets: values of forms under a name, for everybody who opens the page."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from webui.app import App
from webui.presets import LONGEST_NAME, Preset, read_presets

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class PresetBody(BaseModel):
    """One preset. `checkpoint`: with which its values come into the form."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    tab: str
    values: dict[str, StrictBool | StrictInt | StrictFloat | StrictStr]
    checkpoint: str = ""


class Rename(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tab: str
    name: Name
    to: Name


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/presets", tags=["presets"])
    presets = app.presets

    @router.get("")
    def every() -> dict[str, Any]:
        """Every preset, in the order in which they were made, and what is wrong with the file, if anything."""
        return _listed(app)

    @router.put("")
    def save(body: PresetBody) -> dict[str, Any]:
        """Add one, or replace the one of its tab and name."""
        presets.save([Preset(**body.model_dump())])
        return _listed(app)

    @router.post("/rename")
    def rename(body: Rename) -> dict[str, Any]:
        """Give a preset another name. Answers with all of them."""
        presets.rename(body.tab, body.name, body.to)
        return _listed(app)

    @router.delete("")
    def delete(
        tab: Annotated[str, Query(max_length=40)], name: Annotated[str, Query(max_length=200)]
    ) -> dict[str, Any]:
        """Delete a preset. Answers with all that are left."""
        presets.delete(tab, name)
        return _listed(app)

    @router.get("/file")
    def export() -> Response:
        """All of them as a file that `import` takes."""
        content = json.dumps({"presets": presets.to_json()}, ensure_ascii=False, indent=1)
        headers = {"Content-Disposition": 'attachment; filename="easel-presets.json"', "Cache-Control": "no-store"}
        return Response(content, media_type="application/json", headers=headers)

    @router.post("/file")
    def take_in(told: dict[str, Any]) -> dict[str, Any]:
        """Add every preset of such a file, each in the place of the one of its name; a wrong one and none is added."""
        presets.save(read_presets(told))
        return _listed(app)

    return router


def _listed(app: App) -> dict[str, Any]:
    warning = app.presets.warning
    return {"presets": app.presets.to_json(), "warning": None if warning is None else warning.to_json()}
