"""POST txt2img and img2img: a job like any other, answered when it is over."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter

from webui import __version__
from webui.api.sdapi import scripts
from webui.api.sdapi.always_on import CONTROLNET, AlwaysOn
from webui.api.sdapi.bodies import Drawing, ImageBody, TextBody
from webui.api.sdapi.controlnet import RESOLUTION, control_picture
from webui.api.sdapi.names import checkpoint_named
from webui.api.sdapi.scripts import NO_SCRIPT
from webui.api.sdapi.timed import Timed
from webui.api.sdapi.translation import Translated, image_to_image, text_to_image
from webui.api.sdapi.uploads import is_blank, receive, receive_mask
from webui.api.sdapi.waiting import finished, results
from webui.app import App
from webui.errors import InvalidRequest, NotFound


def routes(app: App) -> APIRouter:
    router = APIRouter(route_class=Timed)

    @router.post("/txt2img")
    async def txt2img(body: TextBody) -> dict[str, Any]:
        """Draw from words. Answers when all pictures are made."""
        translated = text_to_image(body, lambda name: checkpoint_named(app.library, name))
        told = await asyncio.to_thread(_told_to_extensions, app, body)
        return await _drawn(app, body, replace(translated, values={**translated.values, **told}))

    @router.post("/img2img")
    async def img2img(body: ImageBody) -> dict[str, Any]:
        """Draw from a picture, and into the mask if there is one. Answers when all pictures are made."""
        if not body.init_images:
            raise NotFound("Init image not found: init_images holds no picture.")
        if len(body.init_images) > 1:
            raise InvalidRequest("Send one picture in init_images; several are several requests.")
        translated = image_to_image(body, lambda name: checkpoint_named(app.library, name))
        picture = await asyncio.to_thread(receive, app.inputs, body.init_images[0])
        told = await asyncio.to_thread(_told_to_extensions, app, body)
        values = {**translated.values, **told, "image": picture.id}
        if body.mask:
            values["mask"] = await asyncio.to_thread(
                receive_mask, app.inputs, body.mask, (picture.width, picture.height), is_hard=body.mask_round
            )
        return await _drawn(app, body, Translated(kind=translated.kind, values=values, styles=translated.styles))

    return router


async def _drawn(app: App, body: Drawing, translated: Translated) -> dict[str, Any]:
    asked = translated.kind, translated.values
    if body.script_name in NO_SCRIPT:
        record = await asyncio.to_thread(app.submit, *asked, styles=translated.styles)
        job = await finished(app, record.id)
    else:
        job = await scripts.drawn(app, *asked, translated.styles, str(body.script_name), body.script_args)
    if not body.override_settings_restore_afterwards and "checkpoint" in translated.values:
        await asyncio.to_thread(app.options.change, default_checkpoint=translated.values["checkpoint"])
    images = (
        [*await results(app, job), *await asyncio.to_thread(_control_pictures, app, job)] if body.send_images else []
    )
    return {"images": images, "parameters": _echo(body), "info": json.dumps(_info(app, job, body), ensure_ascii=False)}


def always_on(app: App) -> AlwaysOn:
    """What `alwayson_scripts` may name now."""
    titles = {folder.manifest.title: name for name, folder in app.extensions.shelf.enabled().items()}
    types = app.extensions.option_types()
    return AlwaysOn(
        types,
        {title: name for title, name in titles.items() if name in types},
        tuple(app.library.shelf("controlnets")),
        keep=lambda encoded: receive(app.inputs, encoded).id,
        is_blank=lambda encoded: is_blank(app.inputs, encoded),
        checkpoint=lambda name: checkpoint_named(app.library, name),
    )


def _told_to_extensions(app: App, body: Drawing) -> dict[str, Any]:
    return always_on(app).values(body.alwayson_scripts) if body.alwayson_scripts else {}


def _control_pictures(app: App, job: Mapping[str, Any]) -> list[str]:
    """What ControlNet's preprocessors made, which its clients get behind the pictures."""
    options = job["request"].get("extensions", {}).get(CONTROLNET, {})
    made = []
    for number in range(1, 1 + sum(name.endswith("_enabled") for name in options)):
        unit = {name.partition("_")[2]: value for name, value in options.items() if name.startswith(f"unit{number}_")}
        picture = unit.get("image") or job["request"].get("image")
        if unit.get("enabled") and picture and unit.get("preprocessor", "none") != "none":
            values = unit.get("resolution", RESOLUTION), unit.get("threshold_a", -1.0), unit.get("threshold_b", -1.0)
            made.append(control_picture(app, picture, unit["preprocessor"], *values))
    return made


def _echo(body: Drawing) -> dict[str, Any]:
    """The request as it was understood, defaults filled in; the pictures only where they are asked for.

    Scripts' arguments had no effect and may be anything, also what JSON cannot say again.
    """
    echoed = body.model_dump(exclude={"script_args", "alwayson_scripts"}) | {"script_args": [], "alwayson_scripts": {}}
    if isinstance(body, ImageBody) and not body.include_init_images:
        echoed |= {"init_images": None, "mask": None}
    return echoed


def _info(app: App, job: dict[str, Any], body: Drawing) -> dict[str, Any]:
    """What AUTOMATIC1111 tells about finished pictures."""
    request, pictures = job["request"], job["pictures"]
    passport = app.library.passports().get(request["checkpoint"])
    seeds = [picture["seed"] for picture in pictures]
    texts = [picture["parameters"] for picture in pictures]
    prompts = [picture["wording"].get("prompt", request["prompt"]) for picture in pictures]
    negative = [picture["wording"].get("negative_prompt", request["negative_prompt"]) for picture in pictures]
    return {
        "prompt": prompts[0] if prompts else request["prompt"],
        "all_prompts": prompts,
        "negative_prompt": negative[0] if negative else request["negative_prompt"],
        "all_negative_prompts": negative,
        "seed": seeds[0] if seeds else request["seed"],
        "all_seeds": seeds,
        "subseed": request.get("variation_seed", -1),
        "all_subseeds": [request.get("variation_seed", -1)] * len(pictures),
        "subseed_strength": request.get("variation_strength", 0.0),
        "width": request["width"],
        "height": request["height"],
        "sampler_name": request["sampler"],
        "cfg_scale": request["guidance_scale"],
        "steps": request["num_inference_steps"],
        "batch_size": request["batch_size"],
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": request["checkpoint"],
        "sd_model_hash": passport.known_sha256[:10] or None if passport is not None else None,
        "sd_vae_name": request.get("vae") or None,
        "sd_vae_hash": None,
        "seed_resize_from_w": body.seed_resize_from_w,
        "seed_resize_from_h": body.seed_resize_from_h,
        "denoising_strength": request.get("strength", body.denoising_strength),
        "extra_generation_params": {"Schedule type": request["schedule"]},
        "index_of_first_image": 0,
        "infotexts": texts,
        "styles": body.styles or [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job["created"])),
        "clip_skip": request["clip_skip"],
        "is_using_inpainting_conditioning": False,
        "version": __version__,
    }
