"""Serves our script, styles and languages under /easel; nothing outside these two folders, by exact name."""

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response

from webui.errors import NotFound

ASSETS = Path(__file__).parent / "assets"
LANGUAGES = Path(__file__).parent / "languages"
PREFIX = "/easel"
"""Not /assets: that is where Gradio's own page keeps its files."""

MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


def assets_router() -> APIRouter:
    """Answers with an ETag and "no-cache": a browser asks each time and gets 304 until a file changes."""
    router = APIRouter(prefix=PREFIX, include_in_schema=False)
    files = {path.name: path for path in ASSETS.iterdir() if path.suffix in MEDIA_TYPES}
    files |= {f"languages/{path.name}": path for path in LANGUAGES.glob("*.json")}

    @router.get("/{name:path}")
    def asset(name: str, request: Request) -> Response:
        if name not in files:
            raise NotFound("The page has no file called '{name}'.", name=name[:80])
        content = files[name].read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=MEDIA_TYPES[files[name].suffix], headers=headers)

    return router
