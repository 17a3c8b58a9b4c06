"""/drafts: what stands in the forms of each browser, for another one to go on with."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from webui.app import App
from webui.drafts import LONGEST_NAME, MOST_FORMS


class DraftBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    forms: Annotated[dict[str, dict[str, Any]], Field(max_length=MOST_FORMS)]


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/drafts", tags=["drafts"])

    @router.get("")
    def every() -> dict[str, Any]:
        """Every draft, the newest first, without its values."""
        return {"drafts": [draft.to_json() for draft in app.drafts.all()]}

    @router.get("/{client}")
    def one(client: str) -> dict[str, Any]:
        """What one browser has typed, whole."""
        return app.drafts.get(client).to_json(whole=True)

    @router.put("/{client}")
    def save(client: str, body: DraftBody) -> dict[str, Any]:
        """Replace the draft of one browser; `client` is the id that it has drawn for itself."""
        return app.drafts.save(client, body.name, body.forms).to_json()

    @router.delete("/{client}")
    def delete(client: str) -> dict[str, Any]:
        """Forget what one browser has typed."""
        app.drafts.delete(client)
        return {"client": client}

    return router
