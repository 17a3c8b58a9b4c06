"""/extensions: what is installed, and what a person decides about it. Decisions need the operator's token."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from webui.api.v1.bodies import FILE_BODY, store_body
from webui.api.v1.operator import operator_check
from webui.app import App
from webui.errors import ExtensionError
from webui.extensions.desk import ExtensionDesk
from webui.extensions.sources import is_address

PREFIX = "/extensions"


class Origin(BaseModel):
    """Where an extension is fetched from: a git address, or a folder or .zip file of the machine that Easel runs on."""

    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, Field(min_length=1, max_length=1000)]

    @property
    def place(self) -> str | Path:
        return self.source if is_address(self.source) or "://" in self.source else Path(self.source).absolute()


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix=PREFIX)
    desk = app.extensions

    @router.get("")
    def every() -> dict[str, Any]:
        """Every extension: title, version, state, hooks, milliseconds per picture, failures."""
        return {"extensions": desk.cards(), "safe_mode": desk.shelf.safe_mode}

    @router.get("/{name}")
    def review(name: str) -> dict[str, Any]:
        """One extension with its files, what changed since it was enabled, what it may reach for, and its hash."""
        return desk.review(name)

    @router.post("/{name}/disable")
    def disable(name: str) -> dict[str, Any]:
        """Pictures are drawn without it from now on. Whoever may draw may do this."""
        return desk.disable(name)

    words = APIRouter()

    @words.get("/words/{language}")
    def words_of_extensions(language: str) -> dict[str, str]:
        """What extensions say, in English -> in that language, as far as they bring translations along."""
        return desk.words(language)

    both = APIRouter(tags=["extensions"])
    both.include_router(words)
    both.include_router(router)
    both.include_router(_of_operator(app))
    return both


def _of_operator(app: App) -> APIRouter:
    """What needs the token of the console, in the header X-Easel-Operator."""

    router = APIRouter(prefix=PREFIX, dependencies=[Depends(operator_check(app.settings))])
    desk = app.extensions

    @router.post("", status_code=201)
    def install(origin: Origin) -> dict[str, Any]:
        """Put an extension on the disk, disabled; the answer is its review."""
        return desk.install(origin.place)

    @router.post("/upload", status_code=201, openapi_extra=FILE_BODY)
    async def upload(request: Request, name: Annotated[str, Query(max_length=60)] = "") -> dict[str, Any]:
        """The same from a .zip file, the body as it is. With `name`, it is an update of that extension."""
        with tempfile.TemporaryDirectory(prefix="easel-") as folder:
            path = Path(folder) / "extension.zip"
            try:
                await store_body(request.stream(), path)
            except OSError as error:
                raise ExtensionError("The upload could not be kept: {reason}.", reason=str(error.strerror)) from error
            if name:
                return await asyncio.to_thread(desk.update, name, path)
            return await asyncio.to_thread(desk.install, path, is_upload=True)

    _add_decisions(router, desk)
    return router


def _add_decisions(router: APIRouter, desk: ExtensionDesk) -> None:
    @router.post("/{name}/enable")
    def enable(name: str) -> dict[str, Any]:
        """Try to import it in a process of its own, then let it run as its files are now."""
        return desk.enable(name)

    @router.post("/{name}/update")
    def update(name: str) -> dict[str, Any]:
        """Fetch it anew from where it came; when it has changed it is disabled. The answer tells the differences."""
        return desk.update(name)

    @router.get("/{name}/requirements")
    def planned(name: str) -> dict[str, Any]:
        """What installing its Python packages would install, or why they do not fit."""
        return {"packages": list(desk.planned(name))}

    @router.post("/{name}/requirements")
    def install_requirements(name: str) -> dict[str, Any]:
        """Install its Python packages into Easel's environment."""
        return desk.install_requirements(name)

    @router.delete("/{name}")
    def remove(name: str) -> dict[str, Any]:
        """Take it off the disk."""
        desk.remove(name)
        return {"name": name}
