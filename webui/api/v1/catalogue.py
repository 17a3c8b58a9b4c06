"""What there is to choose from and how the server does: status, checkpoints, parameters of a request."""

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any

from fastapi import APIRouter

from webui.app import App
from webui.errors import CheckpointError, UnknownName
from webui.library import Passport
from webui.params import Parameter, parameters
from webui.registry import CHOICES
from webui.requests import REQUESTS


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
    def models() -> dict[str, Any]:
        """Names of everything in the models folder: checkpoints, loras, embeddings, controlnets, vae."""
        return app.models()

    @router.post("/checkpoints/refresh")
    def refresh() -> dict[str, Any]:
        """Look at the models folder again."""
        app.refresh_models()
        return listed(app)

    @router.get("/parameters/{kind}")
    def parameters_of(kind: str) -> dict[str, Any]:
        """Every field of a kind of request: default, range, step, label, help, choices."""
        if kind not in REQUESTS:
            raise UnknownName("kind of job", kind, REQUESTS)
        request_type = REQUESTS[kind]
        return {
            "kind": kind,
            "parameters": [_parameter_json(p) for p in parameters(request_type).values()],
            "extensions": {} if request_type.is_training else _options_json(app.extensions.option_types()),
        }

    return router


def listed(app: App) -> dict[str, Any]:
    try:
        default: str | None = app.library.default(app.options.current.default_checkpoint).name
    except CheckpointError:
        default = None
    return {"checkpoints": [_passport_json(p) for p in app.library.passports().values()], "default": default}


def _options_json(types: Mapping[str, type]) -> dict[str, Any]:
    """Options by extension: what a request's `extensions` may hold."""
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
