"""What there is to choose from and how the server does: status, checkpoints, parameters of a request."""

from dataclasses import MISSING
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from webui.app import App
from webui.errors import CheckpointError, NotFound, UnknownName
from webui.library import Passport, ShelfItem, metadata_of
from webui.params import Parameter, parameters
from webui.registry import CHOICES
from webui.requests import REQUESTS

MOST_PREVIEW = 16 * 2**20
"""Bytes of a picture that lies beside a model; a larger one is not shown."""
KEPT = "private, max-age=3600"
"""By browsers: an address has the time of the picture's last change in it."""
PICTURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))
"""First bytes -> media type; whatever the file is called."""


def routes(app: App) -> APIRouter:
    router = APIRouter(tags=["catalogue"])

    @router.get("/status")
    def status() -> dict[str, Any]:
        """The engine's state and the queue's length."""
        return app.status()

    @router.get("/checkpoints")
    def checkpoints() -> dict[str, Any]:
        """Every checkpoint found, usable or not, and the one a request takes when it names none."""
        app.let_engines_start()  # a page asks for this as soon as it is drawn
        return listed(app)

    @router.get("/models")
    def models() -> JSONResponse:
        """Every model by shelf: checkpoints, loras, embeddings, controlnets, vae, upscalers."""
        shelves = app.models()
        # Not left to FastAPI, which looks into every value of what may be thousands of models.
        return JSONResponse(
            {shelf: [_model_json(model) for model in models.values()] for shelf, models in shelves.items()}
        )

    @router.get("/models/{shelf}/metadata")
    def metadata(shelf: str, name: str) -> dict[str, str]:
        """What the maker of a model wrote into its file."""
        return dict(metadata_of(_model(app, shelf, name).path))

    @router.get("/models/{shelf}/preview")
    def preview(shelf: str, name: str) -> Response:
        """The picture that lies beside a model."""
        content = _preview(_model(app, shelf, name))
        kind = next((kind for start, kind in PICTURES if content.startswith(start)), None)
        if kind is None:
            raise NotFound("There is no picture of '{name}'.", name=name[:80])
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": KEPT}
        return Response(content, media_type=kind, headers=headers)

    @router.post("/checkpoints/refresh")
    def refresh() -> dict[str, Any]:
        """Look at the models folder again."""
        app.refresh_models()
        return listed(app)

    _add_parameters(router, app)
    return router


def _add_parameters(router: APIRouter, app: App) -> None:
    @router.get("/parameters/{kind}")
    def parameters_of(kind: str) -> dict[str, Any]:
        """Every field of a kind of request: default, range, step, label, help, choices."""
        if kind not in REQUESTS:
            raise UnknownName("kind of job", kind, REQUESTS)
        request_type = REQUESTS[kind]
        return {
            "kind": kind,
            "parameters": [_parameter_json(p) for p in parameters(request_type).values()],
            "extensions": _options_json(app, request_type),
        }


def listed(app: App) -> dict[str, Any]:
    try:
        default: str | None = app.library.default(app.options.current.default_checkpoint).name
    except CheckpointError:
        default = None
    return {"checkpoints": [_passport_json(p) for p in app.library.passports().values()], "default": default}


def _options_json(app: App, request_type: type) -> dict[str, Any]:
    """Options by extension: what a request's `extensions` may hold."""
    types = app.extensions.option_types() if "extensions" in parameters(request_type) else {}
    return {name: [_parameter_json(p) for p in parameters(declared).values()] for name, declared in types.items()}


def _passport_json(passport: Passport) -> dict[str, Any]:
    return {
        "name": passport.name,
        "title": passport.title,
        "layout": passport.layout,
        "family": passport.family,
        "task": passport.task,
        "prediction_type": passport.prediction_type,
        "native_size": passport.native_size,
        "defaults": dict(passport.defaults),
        "problem": None if passport.problem is None else passport.problem.to_json(),
    }


def _model_json(model: Passport | ShelfItem) -> dict[str, Any]:
    if isinstance(model, Passport):
        return {**_passport_json(model), "can_train": model.can_train}
    return {
        "name": model.name,
        "title": model.title,
        "layout": model.layout,
        "kind": model.kind,
        "family": model.family,
        "alias": model.alias,
        "words": list(model.words),
        "has_preview": model.preview is not None,
        "problem": None if model.problem is None else model.problem.to_json(),
    }


def _model(app: App, shelf: str, name: str) -> Passport | ShelfItem:
    """Raises `NotFound`."""
    found = app.models().get(shelf, {}).get(name)
    if found is None:
        raise NotFound("There is no model '{name}' in {shelf}.", name=name[:80], shelf=shelf[:80])
    return found


def _preview(model: Passport | ShelfItem) -> bytes:
    """What lies beside a model as its picture; nothing when there is none or it cannot be read."""
    if model.preview is None:
        return b""
    try:
        with model.preview.open("rb") as file:
            content = file.read(MOST_PREVIEW + 1)
    except OSError:
        return b""
    return content if len(content) <= MOST_PREVIEW else b""


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
    param = parameter.param
    return {
        "name": parameter.name,
        "type": parameter.type.__name__,
        "default": None if parameter.default is MISSING else parameter.default,
        "required": parameter.default is MISSING,
        "minimum": param.minimum,
        "maximum": param.maximum,
        "step": param.step,
        "label": param.label,
        "help": param.help,
        "choices": list(param.values or CHOICES.get(param.choices, ())) or None,
    }
