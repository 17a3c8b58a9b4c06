"""AUTOMATIC1111's API, so that its clients run against Easel unchanged: one file per resource.

The names of AUTOMATIC1111 live here and nowhere else; a request of theirs becomes one of ours (`translation`) and is
then a job like any other. Facts and differences: docs/sdapi.md.
"""

from fastapi import APIRouter

from webui.api.sdapi import controlnet, generation, lists, options, pictures, progress
from webui.app import App


def router(app: App) -> APIRouter:
    """Every route of /sdapi/v1 and /controlnet."""
    sdapi = APIRouter(prefix="/sdapi/v1", tags=["AUTOMATIC1111"])
    for resource in (generation, pictures, progress, options, lists):
        sdapi.include_router(resource.routes(app))
    both = APIRouter()
    both.include_router(sdapi)
    both.include_router(controlnet.router(app))  # beside it, as that extension has it
    return both
