"""Our own API, version 1: one file per resource."""

from fastapi import APIRouter

from webui.api.v1 import (
    catalogue,
    datasets,
    events,
    extensions,
    gallery,
    inputs,
    jobs,
    picture_info,
    pictures,
    prompts,
    strips,
    trainings,
    upscalers,
)
from webui.app import App


def router(app: App) -> APIRouter:
    """Every route of /api/v1."""
    v1 = APIRouter(prefix="/api/v1")
    for resource in (
        *(jobs, trainings, pictures, strips, gallery, picture_info, inputs, prompts, datasets, catalogue, upscalers),
        *(extensions, events),
    ):
        v1.include_router(resource.routes(app))
    return v1
