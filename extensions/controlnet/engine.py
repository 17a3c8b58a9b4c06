"""The units of a job at work: control pictures into residuals in every call of the UNet. Loading: see `models`."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import T2IAdapter
from PIL import Image, ImageOps

from webui.extension import (
    CheckpointError,
    Components,
    EngineContext,
    EngineHooks,
    Sentence,
    Step,
    UnetInputs,
    UnknownName,
    replace,
)

from .models import Network, find, load
from .options import BALANCED, BOTH, CONTROL, HIGH_RES, Unit, units
from .pictures import Size, control_picture, fitted, hint, read
from .preprocessors import PREPROCESSORS

SOFTER = 0.825
"""Of each output to the next deeper one, where prompt or control is more important: the details follow less."""
ADAPTER_SHARES = (0.25, 0.62, 0.825, 1.0)
"""The same of a T2I-Adapter's four outputs."""
KEPT_HINTS = 8
"""Control pictures that are kept for the next job."""


@dataclass(frozen=True)
class Ready:
    """A unit with everything it needs."""

    unit: Unit
    network: Network
    picture: str
    """Id of its picture among the job's inputs."""


class Engine(EngineHooks[object]):
    """Networks are loaded in `patch`, residuals made in `unet_inputs`."""

    def __init__(self, options: object, context: EngineContext) -> None:
        super().__init__(options, context)
        self._ready: tuple[Ready, ...] = ()
        self._factor = 8

    def patch(self, components: Components, tags: object) -> AbstractContextManager[None]:
        """Changes no weight; only here the checkpoint is at hand."""
        self._factor = components.factor
        self._ready = tuple(self._get_ready(components))
        return nullcontext()

    def unet_inputs(self, inputs: UnetInputs, step: Step) -> UnetInputs:
        for ready in self._ready:
            if is_active(ready.unit, step):
                inputs = self._steered(inputs, ready)
        return inputs

    def before_save(self, image: object, picture: int) -> Mapping[str, str]:
        """ "ControlNet 0", "ControlNet 1", …, as AUTOMATIC1111's extension writes them."""
        return {f"ControlNet {number}": told(ready.unit) for number, ready in enumerate(self._ready)}

    # Before the first step.

    def _get_ready(self, components: Components) -> Iterator[Ready]:
        """The units that can be used; of the others it is told why not."""
        before: Mapping[object, Network] = self.context.cache.get("networks", {})
        loaded: dict[object, Network] = {}
        for number, unit in enumerate(units(self.options), 1):
            if not unit.enabled:
                continue
            try:
                picture = self._picture_of(unit)
                path = self._path_of(unit)
                key = _key(path, components)
                if key not in loaded:
                    loaded[key] = before.get(key) or self._load(path, components)
                yield Ready(unit, loaded[key], picture)
            except (CheckpointError, UnknownName) as error:
                self.context.warn(
                    Sentence("ControlNet unit {number} was left out: {problem}", number=number, problem=error.sentence)
                )
        self.context.cache["networks"] = loaded

    def _path_of(self, unit: Unit) -> Path:
        if not unit.model:
            raise CheckpointError("it has no ControlNet. Choose one.")
        return find(self.context.models("controlnets"), unit.model)

    def _load(self, path: Path, components: Components) -> Network:
        tensors = None if path.is_dir() else self.context.read_weights(path).tensors
        return load(path, components.unet, tensors, self.context.device, self.context.dtype)

    def _picture_of(self, unit: Unit) -> str:
        """The unit's own picture, or the one that the job begins with. Raises `CheckpointError` without any."""
        picture = unit.image or getattr(self.context.request, "image", "")
        if picture not in self.context.inputs:
            raise CheckpointError("it has no control picture. Choose one.")
        if not unit.image and getattr(self.context.request, "inpaint_area", "") == "Only masked":
            raise CheckpointError(
                "only the masked part is painted, which is another part than the whole picture shows. Give the unit "
                "a control picture of its own."
            )
        return picture

    # In every call of the UNet.

    def _steered(self, inputs: UnetInputs, ready: Ready) -> UnetInputs:
        hint_of_rows = self._hint(ready, inputs)
        if isinstance(ready.network, T2IAdapter):
            return _with_adapter(inputs, ready, hint_of_rows)
        return _with_controlnet(inputs, ready, hint_of_rows)

    def _hint(self, ready: Ready, inputs: UnetInputs) -> torch.Tensor:
        """(1, 3, height, width) at the result's size, or that part of it which is looked at, in the network's
        precision."""
        unit = ready.unit
        size = inputs.size[0] * self._factor, inputs.size[1] * self._factor
        resolution = None if unit.pixel_perfect else unit.resolution
        made_by = unit.preprocessor, resolution, unit.resize_mode, unit.threshold_a, unit.threshold_b
        mask = getattr(self.context.request, "mask", "") if PREPROCESSORS[unit.preprocessor].needs_mask else ""
        key = ready.picture, mask, getattr(self.context.request, "mask_mode", ""), size, made_by
        kept: dict[object, torch.Tensor] = self.context.cache.setdefault("hints", {})
        if key not in kept:
            while len(kept) >= KEPT_HINTS:
                kept.pop(next(iter(kept)))
            kept[key] = torch.from_numpy(self._drawn(ready, size, resolution, mask))[None]
        left, top, right, bottom = (edge * self._factor for edge in inputs.box)
        made = kept[key][..., top:bottom, left:right].to(self.context.device, ready.network.dtype)
        return made.mean(1, keepdim=True) if getattr(ready.network.config, "in_channels", 3) == 1 else made

    def _drawn(self, ready: Ready, size: Size, resolution: int | None, mask: str) -> Any:
        """The control picture as an array."""
        unit, picture = ready.unit, read(self.context.inputs[ready.picture])
        drawn = control_picture(
            picture, size, preprocessor=unit.preprocessor, resolution=resolution, resize_mode=unit.resize_mode,
            a=unit.threshold_a, b=unit.threshold_b,
        )  # fmt: skip
        return hint(drawn, fitted(self._mask(mask), size, unit.resize_mode) if mask else None)

    def _mask(self, mask: str) -> Image.Image:
        """White is what is painted anew."""
        painted = read(self.context.inputs[mask]).convert("L")
        is_inverted = getattr(self.context.request, "mask_mode", "") == "Inpaint not masked"
        return ImageOps.invert(painted) if is_inverted else painted


def told(unit: Unit) -> str:
    """A unit in the words of AUTOMATIC1111's extension."""
    values = {
        "Module": unit.preprocessor,
        "Model": unit.model,
        "Weight": unit.weight,
        "Resize Mode": unit.resize_mode.title().replace("And", "and"),
        "Processor Res": unit.resolution,
        "Threshold A": unit.threshold_a,
        "Threshold B": unit.threshold_b,
        "Guidance Start": unit.start,
        "Guidance End": unit.end,
        "Pixel Perfect": unit.pixel_perfect,
        "Control Mode": unit.control_mode,
        "Hr Option": unit.passes,
    }
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def is_active(unit: Unit, step: Step) -> bool:
    """Whether the unit takes part in this step of this pass."""
    is_hires = step.phase == "hires"
    in_pass = unit.passes == BOTH or (unit.passes == HIGH_RES) == is_hires
    return in_pass and unit.weight != 0 and unit.start <= (step.index - 1) / step.total <= unit.end


def shares(outputs: int, unit: Unit) -> list[float]:
    """How much each output of a ControlNet counts, from the finest to the middle."""
    if unit.control_mode == BALANCED:
        return [unit.weight] * outputs
    return [unit.weight * SOFTER ** (outputs - 1 - output) for output in range(outputs)]


def _with_controlnet(inputs: UnetInputs, ready: Ready, control: torch.Tensor) -> UnetInputs:
    skipped = _unsteered(inputs, ready.unit)
    dtype = ready.network.dtype
    latents = inputs.latents[skipped:].to(dtype)
    added = inputs.added_cond_kwargs
    down, middle = ready.network(
        latents,
        inputs.timestep,
        encoder_hidden_states=inputs.encoder_hidden_states[skipped:].to(dtype),
        controlnet_cond=control.expand(len(latents), -1, -1, -1),
        added_cond_kwargs=None if added is None else {name: value[skipped:].to(dtype) for name, value in added.items()},
        return_dict=False,
    )
    made = [
        _padded(output * share, skipped, inputs.latents.dtype)
        for output, share in zip((*down, middle), shares(len(down) + 1, ready.unit), strict=True)
    ]
    return inputs.plus(tuple(made[:-1]), made[-1])


def _with_adapter(inputs: UnetInputs, ready: Ready, control: torch.Tensor) -> UnetInputs:
    skipped, unit = _unsteered(inputs, ready.unit), ready.unit
    outputs = ready.network(control)
    parts = [1.0] * len(outputs) if unit.control_mode == BALANCED else ADAPTER_SHARES[-len(outputs) :]
    rows = len(inputs.latents) - skipped
    made = [
        _padded((output * share * unit.weight).expand(rows, -1, -1, -1), skipped, inputs.latents.dtype)
        for output, share in zip(outputs, parts, strict=True)
    ]
    before = inputs.down_intrablock_additional_residuals
    if before is not None:
        made = [a + b for a, b in zip(before, made, strict=True)]
    return replace(inputs, down_intrablock_additional_residuals=tuple(made))


def _unsteered(inputs: UnetInputs, unit: Unit) -> int:
    """How many rows, from the first on, the unit leaves alone: those of the negative prompt, where control rules."""
    return inputs.unconditional_rows if unit.control_mode == CONTROL else 0


def _padded(output: torch.Tensor, rows: int, dtype: torch.dtype) -> torch.Tensor:
    """With `rows` rows of nothing before it."""
    output = output.to(dtype)
    return output if rows == 0 else torch.cat([output.new_zeros(rows, *output.shape[1:]), output])


def _key(path: Path, components: Components) -> object:
    """Changes when the network on the disk does, or what it is loaded for."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    unet = components.unet.config
    return (
        path,
        stats,
        components.dtype,
        str(components.device),
        unet.cross_attention_dim,
        tuple(unet.block_out_channels),
    )
