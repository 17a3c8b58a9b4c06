"""GET and POST options, cmd-flags: what AUTOMATIC1111 keeps as settings and Easel keeps at all.

A setting of one job belongs into its override_settings; what is set here is set for everybody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header

from webui.api.sdapi.names import checkpoint_named, title
from webui.api.sdapi.timed import Timed
from webui.api.v1.operator import HEADER, require_operator
from webui.app import App
from webui.errors import CheckpointError, InvalidRequest, UnknownName

CHECKPOINT = "sd_model_checkpoint"
FORMATS = {"PNG": "png", "JPEG": "jpg", "WebP": "webp"}
TABS = {
    "img2img": "img2img", "extras": "Extras", "gallery": "Gallery", "models": "Models", "png_info": "PNG Info",
    "train": "Train", "extensions": "Extensions", "system": "System",
}  # fmt: skip
QUICK = {
    "vae": "sd_vae", "clip_skip": "CLIP_stop_at_last_layers", "sampler": "sampler_name", "schedule": "scheduler",
    "num_inference_steps": "steps", "guidance_scale": "cfg_scale", "emphasis": "emphasis",
    "noise_source": "randn_source", "preview": "show_progress_type",
}  # fmt: skip
LANGUAGES = {"browser": "None", "en": "en", "ko": "ko"}


@dataclass(frozen=True)
class Theirs:
    """One of their settings: our option, and its value in their form and in ours."""

    ours: str
    told: Callable[[Any], Any] = lambda value: value
    meant: Callable[[Any], Any] = lambda value: value


def _renamed(ours: str, names: Mapping[str, str]) -> Theirs:
    """One name of theirs for each of ours."""
    return Theirs(ours, lambda value: names[value], lambda value: _back(names, value))


def _back(names: Mapping[str, str], name: object) -> str:
    for ours, theirs in names.items():
        if theirs == name:
            return ours
    raise UnknownName("value", str(name), names.values())


def _negated(value: object) -> object:
    return not value if isinstance(value, bool) else value


def _list_of(ours: str, names: Mapping[str, str], first: tuple[str, ...] = ()) -> Theirs:
    """Lists of names. `first`: what is there always, and has no name here."""

    def meant(value: object) -> list[str]:
        if not isinstance(value, list):
            raise InvalidRequest("{name} must be a list of names.", name=ours)
        return [_back(names, name) for name in value if name not in first]

    return Theirs(ours, lambda value: [*first, *(names[name] for name in value)], meant)


SAME: Mapping[str, Theirs] = {
    "samples_format": _renamed("picture_format", FORMATS),
    "jpeg_quality": Theirs("picture_quality"),
    "webp_lossless": Theirs("webp_lossless"),
    "enable_pnginfo": Theirs("write_metadata"),
    "directories_filename_pattern": Theirs("folder_pattern"),
    "samples_filename_pattern": Theirs("file_pattern"),
    "save_images_add_number": Theirs("number_files"),
    "live_previews_enable": Theirs("live_previews"),
    "show_progress_every_n_steps": Theirs("preview_every"),
    "show_progress_in_title": Theirs("title_progress"),
    "notification_audio": Theirs("sound"),
    "disable_token_counters": Theirs("count_tokens", lambda value: not value, _negated),
    "localization": _renamed("language", LANGUAGES),
    "hidden_tabs": _list_of("hidden_tabs", TABS),
    "quicksettings_list": _list_of("quick_settings", QUICK, first=(CHECKPOINT,)),
    "keyedit_precision_attention": Theirs("weight_step"),
    "keyedit_precision_extra": Theirs("tag_weight_step"),
    "send_seed": Theirs("send_seed"),
    "send_size": Theirs("send_size"),
}
"""Their name -> our option. The checkpoint stands for itself."""


def routes(app: App) -> APIRouter:
    router = APIRouter(route_class=Timed)

    @router.get("/options")
    def options() -> dict[str, Any]:
        """The settings that there are."""
        current = app.options.current
        return {**_checkpoint(app), **{name: each.told(getattr(current, each.ours)) for name, each in SAME.items()}}

    @router.post("/options")
    def change(wanted: dict[str, Any], operator: Annotated[str, Header(alias=HEADER, max_length=200)] = "") -> None:
        """Change settings. One that is not known changes none of them. With --listen all but the checkpoint need the
        operator's token."""
        values = {}
        for name, value in wanted.items():
            if name == CHECKPOINT:
                values["default_checkpoint"] = checkpoint_named(app.library, str(value))
            elif name in SAME:
                values[SAME[name].ours] = SAME[name].meant(value)
            else:
                raise UnknownName("setting", name, (CHECKPOINT, *SAME))
        if app.settings.listen and values.keys() - {"default_checkpoint"}:
            require_operator(app.settings, operator)
        app.options.change(**values)

    @router.get("/cmd-flags")
    def flags() -> dict[str, Any]:
        """The flags of this server's start that AUTOMATIC1111 has too."""
        settings = app.settings
        return {
            "api": True, "listen": settings.listen, "port": settings.port, "device_id": None, "gradio_queue": True,
            "server_name": settings.host, "xformers": True, "use_cpu": ["all"] if settings.device == "cpu" else [],
        }  # fmt: skip

    return router


def _checkpoint(app: App) -> dict[str, Any]:
    try:
        passport = app.library.default(app.options.current.default_checkpoint)
    except CheckpointError:
        return {CHECKPOINT: None, "sd_checkpoint_hash": None}
    return {CHECKPOINT: title(passport), "sd_checkpoint_hash": passport.known_sha256 or None}
