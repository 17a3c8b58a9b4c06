"""Our own API, version 1: one file per resource."""

from fastapi import APIRouter

from webui.api.v1 import (
    catalogue,
    datasets,
    drafts,
    events,
    extensions,
    gallery,
    health,
    inputs,
    jobs,
    models,
    picture_info,
    pictures,
    presets,
    prompts,
    scripts,
    settings,
    snippets,
    strips,
    system,
    trainings,
    upscalers,
)
from webui.api.v1.answers import ERRORS
from webui.app import App


def router(app: App) -> APIRouter:
    """Every route of /api/v1."""
    v1 = APIRouter(prefix="/api/v1", responses=ERRORS)
    for resource in (
        *(jobs, trainings, pictures, strips, gallery, picture_info, inputs, prompts, datasets, models, catalogue),
        *(upscalers, presets, drafts, settings, system),
        *(scripts, extensions, snippets, events, health),
    ):
        v1.include_router(resource.routes(app))
    return v1
