"""What enabled extensions serve below /extensions/<name>/: the files of their assets folder and routes of their own.

Decided anew at each request: one that is disabled answers nothing more.
"""

import functools
from collections.abc import Callable
from html import escape

from fastapi import FastAPI
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from webui.extensions.desk import ExtensionDesk
from webui.extensions.manifest import Folder, is_name

ASSETS = "assets"
MEDIA_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def enabled_now(desk: ExtensionDesk) -> object:
    """Differs when another set of extensions is enabled, or the same with other files."""
    return tuple((name, folder.digest) for name, folder in desk.shelf.enabled().items())


def tags(desk: ExtensionDesk) -> bytes:
    """Scripts and styles of enabled extensions, for the page's head."""
    lines = []
    for name, folder in desk.shelf.enabled().items():
        for file in _assets(folder):
            address = escape(f"extensions/{name}/{ASSETS}/{file}?{folder.files[f'{ASSETS}/{file}'][:8]}")
            if file.endswith(".js"):
                lines.append(f'<script type="module" src="{address}"></script>')
            if file.endswith(".css"):
                lines.append(f'<link rel="stylesheet" href="{address}">')
    return "".join(lines).encode()


def extension_routes(desk: ExtensionDesk) -> ASGIApp:
    """The ASGI app for everything below /extensions."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", ""))).lstrip("/")
        name, _, rest = path.partition("/")
        folder = desk.shelf.enabled().get(name) if is_name(name) else None
        app: ASGIApp = PlainTextResponse("There is no such extension.", 404)
        if folder is not None and scope["type"] == "http":
            app = _asset(folder, rest) or _own(desk, folder) or app
            scope = {**scope, "root_path": f"{scope.get('root_path', '')}/{name}"}
        await app(scope, receive, send)

    return answer


def _asset(folder: Folder, rest: str) -> Response | None:
    """A file of the assets folder, by its exact name."""
    file = rest.removeprefix(f"{ASSETS}/")
    if file == rest or file not in _assets(folder):
        return None
    path = folder.path / ASSETS / file
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix), headers=headers)


def _assets(folder: Folder) -> list[str]:
    return [name.removeprefix(f"{ASSETS}/") for name in sorted(folder.files) if name.startswith(f"{ASSETS}/")]


def _own(desk: ExtensionDesk, folder: Folder) -> ASGIApp | None:
    """The extension's own routes, made once for each state of its files."""
    module = desk.imported(folder, "ui") if folder.has("ui") else None
    routes: Callable[[object], object] | None = getattr(module, "routes", None)
    if module is None or routes is None:
        return None
    return _app_of(module, functools.partial(routes, desk.context(folder)))


def _app_of(module: object, routes: Callable[[], object]) -> ASGIApp:
    made: ASGIApp | None = getattr(module, "easel_routes", None)
    if made is None:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(routes())  # type: ignore[arg-type]
        made = app
        module.easel_routes = made  # type: ignore[attr-defined]  # lives as long as the module that defines it
    return made
