"""How much memory a job will need, before it runs: weights from headers, activations by size. Measures nothing.

Weights are those of the checkpoint, refiner and VAE that the request names, in the precision of the device. Activations
are the larger of the denoiser's and the decoder's, as the two never run at once. What LoRAs, ControlNets and picture
upscalers take is not counted. Held against measured peaks in the tests: within a factor of 2.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from webui.contract import EngineInfo
from webui.errors import UserError
from webui.library import Library, Passport, ShelfItem
from webui.params import parameters
from webui.request_groups import HiresFields, hires_sizes

BYTES = {"cpu": 4, "cuda": 2}
"""Of a number on each kind of device."""
UNKNOWN_BYTES = 2
"""Of a number on the disk, where the header does not tell."""
DENOISER_TENSORS = 24
"""So many tensors of the first level's width and the latents' size, what skip connections hold included, live at once
in a UNet of this kind; counted over Stable Diffusion 1's levels."""
DECODER_TENSORS = 7
"""The same of the decoder's width and the picture's size: the last level takes in twice what it gives."""
WORK = 32 * 2**20
"""Bytes for everything else: the text encoder's activations, previews, encoding the file."""


@dataclass(frozen=True)
class Need:
    """Bytes at the peak of a job."""

    weights: int
    activations: int

    @property
    def bytes(self) -> int:
        return self.weights + self.activations


def need_of(values: Mapping[str, Any], library: Library, device: str) -> Need | None:
    """Of a resolved picture request on "cpu" or "cuda:0"; None where it draws nothing or its headers do not tell."""
    number_bytes = BYTES[device.partition(":")[0]]
    try:
        passport = library.find(str(values["checkpoint"]))
        others = [library.find(str(values["refiner"]))] if values.get("refiner") else []
        vae = [library.model("vae", str(values["vae"]))] if values.get("vae") else []
        pixels = _pixels(values)
    except (UserError, KeyError, TypeError, ValueError):
        return None
    widths = passport.weights
    if not widths.denoiser_width or not widths.decoder_width:
        return None
    weights = sum(_numbers(model) for model in (passport, *others, *vae)) * number_bytes
    at_once = (values.get("batch_size", 1) if number_bytes == BYTES["cuda"] else 1) * (
        2 if values.get("guidance_scale", 1) > 1 else 1
    )
    denoiser = DENOISER_TENSORS * widths.denoiser_width * (pixels / widths.factor**2) * at_once
    decoder = DECODER_TENSORS * widths.decoder_width * pixels
    # SDXL's autoencoder is kept in full precision on cards too.
    decoder_bytes = BYTES["cpu"] if passport.family.startswith("sdxl") else number_bytes
    return Need(weights, int(max(denoiser * number_bytes, decoder * decoder_bytes)) + WORK)


def memory_json(values: Mapping[str, Any], library: Library, engine: EngineInfo) -> dict[str, int] | None:
    """{"bytes", "available"}: the need of a request, and what the engine could take for it now."""
    need = need_of(values, library, engine.device)
    if need is None:
        return None
    loaded = library.passports().get(engine.checkpoint or "")  # the engine lets go of it, or uses it
    held = 0 if loaded is None else _numbers(loaded) * BYTES[engine.device.partition(":")[0]]
    free = engine.for_a_job or int(psutil.virtual_memory().available) + held
    return {"bytes": need.bytes, "available": free}


def _pixels(values: Mapping[str, Any]) -> int:
    """Of the largest pass."""
    width = values["width"] + values.get("outpaint_left", 0) + values.get("outpaint_right", 0)
    height = values["height"] + values.get("outpaint_up", 0) + values.get("outpaint_down", 0)
    if values.get("hires"):
        fields = HiresFields(**{name: value for name, value in values.items() if name in parameters(HiresFields)})
        return int(max(width * height, math.prod(hires_sizes((width, height), fields)[1])))
    return int(width * height)


def _numbers(model: Passport | ShelfItem) -> int:
    return model.weights.numbers or model.weights.bytes // UNKNOWN_BYTES
