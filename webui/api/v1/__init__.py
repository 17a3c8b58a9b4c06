"""Our own API, version 1: one file per resource."""

from fastapi import APIRouter

from webui.api.v1 import catalogue, datasets, events, extensions, inputs, jobs, pictures, prompts, trainings
from webui.app import App


def router(app: App) -> APIRouter:
    """Every route of /api/v1."""
    v1 = APIRouter(prefix="/api/v1")
    for resource in (jobs, trainings, pictures, inputs, prompts, datasets, extensions, catalogue, events):
        v1.include_router(resource.routes(app))
    return v1
