"""The HTTP interfaces. Thin: they read requests, ask `App` and show what it says."""

from fastapi import FastAPI

from webui.api import sdapi, v1
from webui.api.errors import install_error_handlers
from webui.app import App


def mount_api(fastapi: FastAPI, app: App) -> None:
    """Add every route of both APIs and the answers for errors. Call before Gradio takes the rest of the paths."""
    install_error_handlers(fastapi)
    for api in (v1, sdapi):
        fastapi.include_router(api.router(app))
