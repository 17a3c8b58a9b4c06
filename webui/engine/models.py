"""What is loaded: the parts of a checkpoint, kept for as long as there is memory for them."""

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from webui.engine import memory
from webui.engine.preview_decoder import PreviewDecoder
from webui.engine.previews import LatentToRgb
from webui.engine.sigmas import NoiseTable
from webui.engine.text import PromptReader, Tower
from webui.engine.vae import latent_channels
from webui.library import TOLD_OF_CHECKPOINTS, Passport

log = logging.getLogger(__name__)

NUMBERS_FOR_REFINER = 5
"""That SDXL's refiner is told of a picture; SDXL itself is told 6."""
SHARE = 0.5
LARGEST_GROWTH = 2
"""From a file in half precision to weights in full."""


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
    """One tokenizer with its text encoder, for SDXL two; none where the checkpoint knows no words."""
    prompts: PromptReader
    prediction_type: str
    """"epsilon", "v_prediction" or "sample"."""
    table: NoiseTable
    latent_rgb: LatentToRgb
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
        return latent_channels(self.vae)

    @property
    def image_channels(self) -> int:
        """Channels beside the latents that the UNet wants to see: 5 of an inpainting checkpoint, else mostly 0."""
        return int(self.unet.config.in_channels) - self.latent_channels

    @property
    def bytes(self) -> int:
        """What its weights take on the device."""
        networks = (self.unet, self.vae, *(tower.encoder for tower in self.towers))
        return sum(weight.numel() * weight.element_size() for network in networks for weight in network.parameters())

    @property
    def is_xl(self) -> bool:
        """SDXL and its refiner."""
        return bool(self.unet.config.addition_embed_type == "text_time")

    @property
    def scores_pictures(self) -> bool:
        """True for SDXL's refiner, which is told an aesthetic score where SDXL is told a target size."""
        config = self.unet.config
        if not self.is_xl:
            return False
        told = config.projection_class_embeddings_input_dim - self.towers[-1].encoder.config.projection_dim
        return bool(told == NUMBERS_FOR_REFINER * config.addition_time_embed_dim)


class ModelCache:
    """The checkpoint in use and, as far as memory goes, those used before it, so that switching back is quick.

    What is kept beside the one in use takes at most `share` of the memory that would be free without it. A checkpoint
    that is let go lives on as long as a job holds it.
    """

    def __init__(
        self,
        load: Callable[[Passport], Components],
        *,
        load_vae: Callable[[Path, Components], Components] | None = None,
        available: Callable[[], int] = memory.available,
    ) -> None:
        """`load_vae`: the checkpoint with the autoencoder at a path; `available`: bytes of the device that are free."""
        self._load = load
        self._load_vae = load_vae
        self._available = available
        self.share = SHARE
        """Of the memory that is there for checkpoints and pictures, what those kept for later may take, 0 to 0.9."""
        self._kept: OrderedDict[object, Components] = OrderedDict()
        """By files as they were when read, the one used last at the end."""
        self._with_vae: tuple[object, Components] | None = None

    @property
    def loaded(self) -> Components | None:
        """The checkpoint that was used last."""
        return next(reversed(self._kept.values()), None)

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Name and bytes of every checkpoint in memory, the one used last at the end."""
        return tuple((kept.name, kept.bytes) for kept in self._kept.values())

    def holds(self, passport: Passport) -> bool:
        """True when the checkpoint is in memory as it is on the disk now."""
        return _key(passport.path) in self._kept

    def clear(self) -> None:
        """Give the memory of everything that is loaded back."""
        if self._kept:
            self._kept.clear()
            self._with_vae = None
            memory.release()

    def get(self, passport: Passport, vae: Path | None = None) -> Components:
        """The components, loaded when they are not there; with the autoencoder at `vae` instead of their own.

        Raises `CheckpointError`.
        """
        key = _key(passport.path)
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            begin = time.monotonic()
            self._make_room(passport)
            self._kept[key] = self._loaded(passport)
            log.info("checkpoint %s loaded in %.1f s", passport.name, time.monotonic() - begin)
        components = self._kept[key]
        return components if vae is None else self._swapped(key, components, vae)

    def _swapped(self, key: object, components: Components, vae: Path) -> Components:
        """One place: the last checkpoint with the last autoencoder of another file."""
        assert self._load_vae is not None
        wanted = key, _key(vae)
        if self._with_vae is None or self._with_vae[0] != wanted:
            self._with_vae = None
            self._with_vae = wanted, self._load_vae(vae, components)
        return self._with_vae[1]

    def _make_room(self, passport: Passport) -> None:
        """Let go of what was not used for longest, and of what has changed on the disk, before loading another."""
        before = len(self._kept)
        needed = LARGEST_GROWTH * _size(passport.path)
        for key in [key for key, kept in self._kept.items() if kept.path == passport.path]:
            del self._kept[key]
        held = sum(kept.bytes for kept in self._kept.values())
        budget = self.share * (self._available() + held)
        while self._kept and held + needed > budget:
            _, oldest = self._kept.popitem(last=False)
            held -= oldest.bytes
            del oldest
        if len(self._kept) < before:
            self._with_vae = None
            memory.release()

    def _loaded(self, passport: Passport) -> Components:
        """Alone in memory when it does not fit beside the others after all."""
        try:
            return self._load(passport)
        except (RuntimeError, MemoryError) as error:
            if not self._kept or not memory.is_out_of_memory(error):
                raise
        self.clear()  # not in the except block: its traceback holds what was loaded half-way
        return self._load(passport)


def _key(path: Path) -> object:
    """Changes when the files do, so that what was trained further under the same name is loaded again.

    Also when what is told beside a single file does, as that may say how it predicts.
    """
    try:
        return path, tuple((file, status.st_size, status.st_mtime_ns) for file, status in _files(path))
    except OSError:  # being replaced right now: equal to no other key
        return object()


def _size(path: Path) -> int:
    try:
        return sum(status.st_size for _, status in _files(path))
    except OSError:
        return 0


def _files(path: Path) -> list[tuple[Path, os.stat_result]]:
    if path.is_file():
        beside = (path.with_suffix(suffix) for suffix in TOLD_OF_CHECKPOINTS)
        found = [path, *(file for file in beside if file.is_file())]
    else:
        found = sorted(file for file in path.rglob("*") if file.is_file())
    return [(file, file.stat()) for file in found]
