"""The HTTP interfaces. Thin: they read requests, ask `App` and show what it says."""

from fastapi import FastAPI

from webui.api.errors import install_error_handlers
from webui.api.v1 import router
from webui.app import App


def mount_api(fastapi: FastAPI, app: App) -> None:
    """Add every route under /api and the answers for errors. Call before Gradio takes the rest of the paths."""
    install_error_handlers(fastapi)
    fastapi.include_router(router(app))
