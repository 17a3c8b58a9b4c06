"""What is loaded: the parts of one checkpoint, kept until another one is asked for."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from webui.engine import memory
from webui.engine.preview_decoder import PreviewDecoder
from webui.engine.previews import LatentRgb
from webui.engine.sigmas import NoiseTable
from webui.engine.text import PromptEncoder, Tower
from webui.library import Passport

log = logging.getLogger(__name__)

NUMBERS_FOR_REFINER = 5
"""That SDXL's refiner is told of a picture; SDXL itself is told 6."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """A loaded checkpoint. The networks are diffusers' and transformers' own classes, which carry no types."""

    name: str
    path: Path
    unet: Any
    """UNet2DConditionModel."""
    vae: Any
    """AutoencoderKL."""
    towers: tuple[Tower, ...]
    """One tokenizer with its text encoder, for SDXL two."""
    prompts: PromptEncoder
    prediction_type: str
    """"epsilon", "v_prediction" or "sample"."""
    table: NoiseTable
    latent_rgb: LatentRgb
    preview_decoder: PreviewDecoder | None
    native_size: int
    """Side in pixels of the pictures it was trained on."""
    factor: int
    """Pixels per latent along a side."""
    dtype: torch.dtype
    device: torch.device

    @property
    def latent_channels(self) -> int:
        """Of latents; the UNet takes more where it is given a picture or mask beside them."""
        return int(self.vae.config.latent_channels)

    @property
    def image_channels(self) -> int:
        """Channels beside the latents that the UNet wants to see: 5 of an inpainting checkpoint, else mostly 0."""
        return int(self.unet.config.in_channels) - self.latent_channels

    @property
    def scores_pictures(self) -> bool:
        """True for SDXL's refiner, which is told an aesthetic score where SDXL is told a target size."""
        config = self.unet.config
        if config.addition_embed_type != "text_time":
            return False
        told = config.projection_class_embeddings_input_dim - self.towers[-1].encoder.config.projection_dim
        return bool(told == NUMBERS_FOR_REFINER * config.addition_time_embed_dim)


class ModelCache:
    """One slot: the components of the checkpoint that was used last."""

    def __init__(self, load: Callable[[Passport], Components]) -> None:
        self._load = load
        self._key: object = None
        self._components: Components | None = None

    @property
    def loaded(self) -> Components | None:
        return self._components

    def holds(self, passport: Passport) -> bool:
        """True when the checkpoint is in memory as it is on the disk now."""
        return self._components is not None and self._key == _key(passport)

    def clear(self) -> None:
        """Give the memory of what is loaded back."""
        if self._components is not None:
            self._components, self._key = None, None
            memory.release()

    def get(self, passport: Passport) -> Components:
        """The components, loaded when they are not there. Raises `CheckpointError`."""
        if self._components is None or not self.holds(passport):
            begin = time.monotonic()
            self.clear()  # before loading, so that the two never are in memory together
            key = _key(passport)
            self._components = self._load(passport)
            self._key = key
            log.info("checkpoint %s loaded in %.1f s", passport.name, time.monotonic() - begin)
        return self._components


def _key(passport: Passport) -> object:
    """Changes when the checkpoint's files do, so that one trained further under the same name is loaded again."""
    files = sorted(path for path in passport.path.rglob("*") if path.is_file())
    try:
        stats = [(path, path.stat()) for path in files]
    except FileNotFoundError:  # the folder is being replaced right now: equal to no other key
        return object()
    return passport.path, tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
