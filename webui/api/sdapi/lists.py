"""What there is to choose from, in AUTOMATIC1111's shapes."""

from pathlib import PurePosixPath
from typing import Any

import psutil
from fastapi import APIRouter, Request

from webui.api.sdapi.generation import always_on
from webui.api.sdapi.names import title
from webui.api.sdapi.scripts import selectable
from webui.api.sdapi.timed import Timed
from webui.app import App
from webui.errors import NotHere
from webui.library import Passport
from webui.params import Parameter, parameters
from webui.registry import CHOICES, LATENT_UPSCALERS, SAMPLERS, SCHEDULES, sampler_aliases
from webui.sentences import Sentence


def routes(app: App) -> APIRouter:
    router = APIRouter(route_class=Timed)
    _add_choices(router, app)
    _add_files(router, app)
    _add_machine(router)
    _add_absent(router)
    return router


def _add_choices(router: APIRouter, app: App) -> None:
    @router.get("/samplers")
    def samplers() -> list[dict[str, Any]]:
        return [{"name": name, "aliases": list(sampler_aliases(name)), "options": {}} for name in SAMPLERS]

    @router.get("/schedulers")
    def schedulers() -> list[dict[str, Any]]:
        return [
            {
                "name": name.lower().replace(" ", "_"),
                "label": name,
                "aliases": None,
                "default_rho": {"Karras": 7.0, "Polyexponential": 1.0}.get(name, -1.0),
                "need_inner_model": name in ("SGM Uniform", "Simple", "Normal", "DDIM", "Beta", "Align Your Steps"),
            }
            for name in SCHEDULES
        ]

    @router.get("/latent-upscale-modes")
    def latent_upscale_modes() -> list[dict[str, str]]:
        return [{"name": name} for name in LATENT_UPSCALERS]

    @router.get("/prompt-styles")
    def prompt_styles() -> list[dict[str, str]]:
        app.prompts.styles.refresh()
        return [
            {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
            for style in app.prompts.styles.styles.values()
        ]

    @router.get("/scripts")
    def scripts() -> dict[str, list[str]]:
        titles = always_on(app).titles
        return {kind: [*selectable(app, kind), *titles] for kind in ("txt2img", "img2img")}

    @router.get("/script-info")
    def script_info() -> list[dict[str, Any]]:
        return [told for is_img2img in (False, True) for told in _scripts(app, is_img2img)]

    @router.get("/extensions")
    def extensions() -> list[dict[str, Any]]:
        return [
            {
                "name": card["name"], "remote": card["source"], "branch": "", "commit_hash": "", "commit_date": "",
                "version": card["version"], "enabled": card["enabled"],
            }
            for card in app.extensions.cards()
        ]  # fmt: skip

    @router.get("/hypernetworks")
    def hypernetworks() -> list[dict[str, Any]]:
        return []

    @router.get("/face-restorers")
    def face_restorers() -> list[dict[str, Any]]:
        return []


def _scripts(app: App, is_img2img: bool) -> list[dict[str, Any]]:
    """Extensions with options, which may always be on, and scripts, of which one is chosen."""
    on = {
        name: [_argument(field) for field in parameters(declared).values()]
        for name, declared in app.extensions.option_types().items()
    }
    chosen = {
        title: [{name: option[ours] for name, ours in ARGUMENT.items()} for option in told["options"]]
        for title, told in selectable(app, "img2img" if is_img2img else "txt2img").items()
    }
    return [
        {"name": name, "is_alwayson": is_alwayson, "is_img2img": is_img2img, "args": arguments}
        for is_alwayson, scripts in ((False, chosen), (True, on))
        for name, arguments in scripts.items()
    ]


ARGUMENT = {
    "label": "label", "value": "default", "minimum": "minimum", "maximum": "maximum", "step": "step",
    "choices": "choices",
}  # fmt: skip
"""What an argument of a script tells there -> what an option tells here."""


def _argument(field: Parameter) -> dict[str, Any]:
    param = field.param
    return {
        "label": param.label,
        "value": field.default,
        "minimum": param.minimum,
        "maximum": param.maximum,
        "step": param.step,
        "choices": list(param.values or CHOICES.get(param.choices, ())) or None,
    }


def _add_files(router: APIRouter, app: App) -> None:
    @router.get("/upscalers")
    def upscalers() -> list[dict[str, Any]]:
        return [
            {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4}
            for name in app.upscalers()
        ]

    @router.get("/realesrgan-models")
    def realesrgan_models() -> list[dict[str, Any]]:
        built_in = ("None", "Lanczos", "Nearest")
        names = app.upscalers()
        return [{"name": name, "path": None, "scale": 4} for name in names if name not in built_in]

    @router.get("/sd-models")
    def sd_models() -> list[dict[str, Any]]:
        return [_checkpoint(passport) for passport in app.library.passports().values() if passport.problem is None]

    @router.get("/sd-vae")
    def sd_vae() -> list[dict[str, Any]]:
        return [{"model_name": name, "filename": name} for name in app.models()["vae"]]

    @router.get("/embeddings")
    def embeddings() -> dict[str, Any]:
        unknown = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 0, "vectors": 0}
        return {"loaded": dict.fromkeys(app.models()["embeddings"], unknown), "skipped": {}}

    @router.get("/loras")
    def loras() -> list[dict[str, Any]]:
        items = app.library.shelf("loras").values()
        return [{"name": lora.name, "alias": lora.alias, "path": lora.name, "metadata": {}} for lora in items]

    def refresh() -> None:
        """Look at the models folder again."""
        app.refresh_models()

    for what in ("checkpoints", "vae", "embeddings", "loras"):
        router.add_api_route(f"/refresh-{what}", refresh, methods=["POST"], name=f"refresh_{what}")


def _checkpoint(passport: Passport) -> dict[str, Any]:
    """The hashes only where they were made before: a list must not read gigabytes."""
    sha256 = passport.known_sha256 or None
    return {
        "title": title(passport),
        "model_name": str(PurePosixPath(passport.name).with_suffix("")) if passport.layout == "file" else passport.name,
        "hash": sha256[:10] if sha256 else None,
        "sha256": sha256,
        "filename": passport.name,
        "config": None,
    }


def _add_machine(router: APIRouter) -> None:
    @router.get("/memory")
    def memory() -> dict[str, Any]:
        """Of this machine; what the engine's card holds is the engine's to know."""
        ram = psutil.virtual_memory()
        return {
            "ram": {"free": ram.available, "used": ram.total - ram.available, "total": ram.total},
            "cuda": {"error": "The server process does not use the card."},
        }


def _add_absent(router: APIRouter) -> None:
    """What AUTOMATIC1111 has and Easel does in another way, or not at all: told, and not 404."""

    def absent(request: Request) -> None:
        """Not here; the answer says what there is instead."""
        path = request.url.path.removeprefix("/sdapi/v1/")
        raise NotHere("There is no {path} in Easel. {instead}", path=path, instead=Sentence(ABSENT[path]))

    for path in ABSENT:
        router.add_api_route(f"/{path}", absent, methods=["POST"], name=path)


_TRAIN = "Train on the page, or with a job of the kind train-embedding or train-lora at /api/v1/jobs."
_MEMORY = "Its engine keeps and frees checkpoints by itself."
_CONSOLE = "Stop or start it where it was started."
ABSENT = {
    **dict.fromkeys(("create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"), _TRAIN),
    **dict.fromkeys(("unload-checkpoint", "reload-checkpoint"), _MEMORY),
    **dict.fromkeys(("server-kill", "server-restart", "server-stop"), _CONSOLE),
}
"""Path -> what there is instead."""
