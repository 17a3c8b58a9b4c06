"""The page as a whole: header, tabs, and how it is mounted so that it reads no files and asks no other host."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from webui.errors import CheckpointError
from webui.ui import gradio_setup
from webui.ui.assets_router import ASSETS, assets_router
from webui.ui.extension_routes import enabled_now, extension_routes, tags
from webui.ui.page_head import PageHead
from webui.ui.page_renewal import Renewed

if TYPE_CHECKING:
    import gradio as gr

    from webui.app import App

__all__ = ["assets_router", "build_page", "mount"]

MAX_UPLOAD = "50mb"


def build_page(app: "App") -> "gr.Blocks":
    """Lay the whole page out."""
    gradio_setup.prepare(app.settings.data_dir)
    import gradio as gr

    from webui.ui import (
        extensions,
        extras,
        gallery,
        header,
        img2img,
        models,
        palette,
        panels,
        png_info,
        settings,
        system,
        train,
        txt2img,
    )
    from webui.ui.languages import word

    name, recommended = _default_checkpoint(app)
    of_extensions = panels.panels_of(app.extensions)
    with gr.Blocks(title="Easel", analytics_enabled=False, fill_width=True) as page:
        checkpoint = header.build(app.library.passports(), name)
        with gr.Tabs(elem_id="easel_tabs"):
            with gr.Tab(word("tab.txt2img"), elem_id="tab_txt2img"):
                txt2img.build(page, checkpoint, recommended, of_extensions)
            with gr.Tab(word("tab.img2img"), elem_id="tab_img2img"):
                img2img.build(page, checkpoint, recommended, of_extensions)
            with gr.Tab(word("tab.extras"), elem_id="tab_extras"):
                extras.build(page)
            with gr.Tab(word("tab.gallery"), elem_id="tab_gallery"):
                gallery.build()
            with gr.Tab(word("tab.models"), elem_id="tab_models"):
                models.build()
            with gr.Tab(word("tab.png_info"), elem_id="tab_png_info"):
                png_info.build()
            with gr.Tab(word("tab.train"), elem_id="tab_train"):
                train.build(page)
            panels.build_tabs(app.extensions)
            with gr.Tab(word("tab.extensions"), elem_id="tab_extensions"):
                extensions.build()
            with gr.Tab(word("tab.settings"), elem_id="tab_settings"):
                settings.build()
            with gr.Tab(word("tab.system"), elem_id="tab_system"):
                system.build()
        palette.wire(page)
    return page


def mount(fastapi_app: FastAPI, app: "App") -> None:
    """Put the page at "/". Every other route must have been added before: nothing after it is reachable.

    When other extensions are enabled, the next reader who opens the page gets another one.
    """
    fastapi_app.mount("/extensions", extension_routes(app.extensions))
    _, mounted = _mounted(fastapi_app, app)
    fastapi_app.routes[-1].app = Renewed(  # type: ignore[attr-defined]  # the route is Starlette's Mount
        _with_head(mounted, app),
        lambda: enabled_now(app.extensions),
        lambda: _again(app),
    )


def _again(app: "App") -> "tuple[gr.Blocks, ASGIApp]":
    page, mounted = _mounted(FastAPI(), app)
    return page, _with_head(mounted, app)


def _with_head(mounted: ASGIApp, app: "App") -> PageHead:
    return PageHead(mounted, tags(app.extensions), lambda: _options_tag(app.options.current.for_page()))


def _options_tag(options: Mapping[str, Any]) -> bytes:
    """The options for our script, before anything is painted. No text in them can end the tag."""
    told = json.dumps(options).replace("<", "\\u003c")
    return f"<script>globalThis.easelOptions = {told};</script>".encode()


def _mounted(fastapi_app: FastAPI, app: "App") -> "tuple[gr.Blocks, ASGIApp]":
    page = build_page(app)
    import gradio as gr

    from webui.ui.languages import translations
    from webui.ui.theme import easel_theme

    gr.mount_gradio_app(
        fastapi_app,
        page,
        path="/",
        run_history=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size=MAX_UPLOAD,
        favicon_path=str(ASSETS / "favicon.svg"),
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        i18n=translations(),
        theme=easel_theme(),
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    # Without this Gradio does not check which files a request may name, and any file of the machine can be read.
    page.has_launched = True
    route: Any = fastapi_app.routes[-1]
    return page, route.app


def _default_checkpoint(app: "App") -> tuple[str, Mapping[str, Any]]:
    """Name and recommended values of the checkpoint a fresh page shows; none when none can be used."""
    try:
        passport = app.library.default(app.options.current.default_checkpoint)
    except CheckpointError:
        return "", {}  # the page opens all the same and says what to do
    return passport.name, passport.defaults
