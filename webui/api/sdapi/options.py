"""GET and POST options, cmd-flags: what AUTOMATIC1111 keeps as settings and Easel keeps at all.

A setting of one job belongs into its override_settings; what is set here is set for everybody.
"""

from typing import Any

from fastapi import APIRouter

from webui.api.sdapi.names import checkpoint_named, title
from webui.api.sdapi.timed import Timed
from webui.app import App
from webui.errors import CheckpointError, UnknownName

CHECKPOINT = "sd_model_checkpoint"


def routes(app: App) -> APIRouter:
    router = APIRouter(route_class=Timed)

    @router.get("/options")
    def options() -> dict[str, Any]:
        """The settings that there are."""
        return _options(app)

    @router.post("/options")
    def change(wanted: dict[str, Any]) -> None:
        """Change settings. One that is not known changes none of them."""
        for name in wanted:
            if name != CHECKPOINT:
                raise UnknownName("setting", name, [CHECKPOINT])
        if CHECKPOINT in wanted:
            name = checkpoint_named(app.library, str(wanted[CHECKPOINT]))
            app.options.change(default_checkpoint=name)

    @router.get("/cmd-flags")
    def flags() -> dict[str, Any]:
        """The flags of this server's start that AUTOMATIC1111 has too."""
        settings = app.settings
        return {
            "api": True, "listen": settings.listen, "port": settings.port, "device_id": None, "gradio_queue": True,
            "server_name": settings.host, "xformers": True, "use_cpu": ["all"] if settings.device == "cpu" else [],
        }  # fmt: skip

    return router


def _options(app: App) -> dict[str, Any]:
    try:
        passport = app.library.default(app.options.current.default_checkpoint)
    except CheckpointError:
        return {CHECKPOINT: None, "sd_checkpoint_hash": None}
    return {CHECKPOINT: title(passport), "sd_checkpoint_hash": passport.known_sha256 or None}
