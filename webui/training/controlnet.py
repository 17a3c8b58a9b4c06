"""Steering a checkpoint by a control picture: ControlNet, Zhang et al. 2023 (arXiv:2302.05543).

Owns the network (a copy of the UNet's encoder, or a light one without attention), its control pictures and how it is
trained beside the frozen UNet. The result is a plain diffusers folder; using it is the engine's business.
"""

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image

from webui.engine.vae import to_image
from webui.train_requests import TrainControlNet
from webui.training.adapter import Lesson, Material, prepare_material, required_checkpoint
from webui.training.batches import Batch, Batches
from webui.training.cache import Rows, cached_rows, file_key, fingerprint
from webui.training.conditioning import Condition, added_conditions
from webui.training.controls import edges, scribbles
from webui.training.course import Course, preparing, stage_of
from webui.training.data import load_picture
from webui.training.loop import Trainer
from webui.training.networks import Networks, halved, load_networks, save_memory
from webui.training.objective import denoising_loss
from webui.training.results import TOKEN_KEY, claim, write_folder
from webui.training.sampling import Predict
from webui.training.session import Update, Workspace

HINT_WIDTHS = (16, 32, 96, 256)
"""Widths of the layers that take the control picture down to the latents' size, in Stable Diffusion's ControlNets."""
CAPTION_DROPOUT = 0.5
"""Share of samples without words, so that the control picture is learnt to be understood (section 3.4)."""


def train_controlnet(request: TrainControlNet, workspace: Workspace) -> Iterator[Update]:
    """Train, or go on training. Raises `UserError` for a checkpoint or dataset that cannot be used."""
    result = workspace.models / request.result
    token = claim(result, workspace.run)
    networks = load_networks(required_checkpoint(workspace), workspace.device, request.precision)
    controlnet = build_controlnet(networks, lite=request.lite, seed=request.seed)
    trainer = Trainer(stage_of(request, workspace), controlnet)
    lesson = Lesson(
        request=request,
        workspace=workspace,
        networks=networks,
        done=trainer.step,
        caption_of=lambda example: example.caption,
        is_wanted=(lambda example: example.control is not None) if request.control == "given" else None,
    )
    with trainer.accelerator.main_process_first():
        material = yield from prepare_material(lesson)
        controls = yield from prepare_controls(lesson, material.batches, request.control)
    tutor = Tutor(material, controlnet, controls)

    def write() -> Path:
        card = {
            "title": request.name,
            "control": request.control,
            "checkpoint": networks.path.name,
            "made_by": {"kind": request.kind, **dataclasses.asdict(request)},
            TOKEN_KEY: token,
        }
        return write_folder(halved(controlnet).save_pretrained, card, result)

    yield from Course(request=request, trainer=trainer, loss_of=tutor.loss, sample=tutor.sample, write=write).updates()


# The network.


def build_controlnet(networks: Networks, *, lite: bool, seed: int) -> Any:  # ControlNetModel
    """A network that begins as a copy of the UNet's encoder and adds nothing yet: its last layers are zero.

    `lite` leaves the attention out: less than half the size, and enough where only shapes are to be followed.
    """
    unet = networks.unet
    levels = networks.first_stage.factor.bit_length()
    widest = 2 * unet.config.block_out_channels[0]
    hints = tuple(min(width, widest) for width in (*HINT_WIDTHS, *HINT_WIDTHS[-1:] * 2)[:levels])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if lite:
            controlnet = _without_attention(unet, hints)
        else:
            controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hints)
    controlnet.requires_grad_(True)
    return save_memory(controlnet)


def _without_attention(unet: Any, hints: Sequence[int]) -> Any:
    """As `ControlNetModel.from_unet`, residual blocks only. What has a counterpart in the UNet begins as its copy."""
    config = dict(ControlNetModel.from_unet(unet, load_weights_from_unet=False).config)
    config |= {
        "down_block_types": ("DownBlock2D",) * len(unet.config.down_block_types),
        "mid_block_type": "UNetMidBlock2D",
        "conditioning_embedding_out_channels": hints,
    }
    controlnet = ControlNetModel.from_config(config)
    own = controlnet.state_dict()
    shared = {name: value for name, value in unet.state_dict().items() if name in own}
    controlnet.load_state_dict(shared, strict=False)
    return controlnet


# Control pictures.


@dataclass(frozen=True)
class Controls:
    """The control picture of every example."""

    kind: str
    rows: Sequence[Rows]
    """Per group of the batches: (members, channels, height, width) in bytes."""

    def of(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """(n, 3, height, width) in [0, 1]; a scribble is another one each time."""
        pictures = torch.from_numpy(np.array(self.rows[batch.group][list(batch.places)])).float() / 255
        if self.kind == "scribble":
            pictures = scribbles(pictures, generator)
        return pictures.expand(-1, 3, -1, -1)


def prepare_controls(lesson: Lesson, batches: Batches, kind: str) -> Generator[Update, None, Controls]:
    """Make the control pictures that are not made yet; scribbles are drawn along edges later."""
    rows = []
    for group in batches.groups:
        examples = [batches.examples[member] for member in group.members]
        files = [example.control or example.path if kind == "given" else example.path for example in examples]

        def make(places: Sequence[int], files: Sequence[Path] = files, size: tuple[int, int] = group.size) -> Rows:
            pictures = torch.stack([load_picture(files[place], *size) for place in places])
            control = pictures / 2 + 0.5 if kind == "given" else edges(pictures)
            made: Rows = (control * 255).round().to(torch.uint8).numpy()
            return made

        key = fingerprint([file_key(path) for path in files], group.size, kind == "given")
        path = lesson.cache / f"controls-{group.size[0]}x{group.size[1]}.npy"
        making = cached_rows(path, key, len(files), make)
        while True:
            try:
                next(making)
            except StopIteration as stop:
                rows.append(stop.value)
                break
            yield preparing(lesson.done, lesson.request.steps)
    return Controls(kind, rows)


class Tutor:
    """Lets the ControlNet correct the frozen UNet."""

    def __init__(self, material: Material, controlnet: Any, controls: Controls) -> None:
        self._material = material
        self._controlnet = controlnet
        self._controls = controls

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        material = self._material
        batch = material.batches.draw(material.lesson.request.batch_size, generator)
        control = self._controls.of(batch, generator).to(material.device)
        is_wordless = torch.rand(len(batch.members), generator=generator) < CAPTION_DROPOUT
        null = material.captions.null(len(batch.members), batch.size)
        condition = material.captions.condition(batch).unless(is_wordless, null).to(material.device)
        steered = self.steered(control)
        return denoising_loss(
            material.objective,
            batch.latents.to(material.device),
            lambda noisy, timestep: steered(noisy, timestep, condition),
            generator,
        )

    def steered(self, control: torch.Tensor) -> Predict:
        """The UNet under control pictures (n, 3, height, width) in [0, 1], or one for all."""
        denoiser = self._material.denoiser

        def predict(latents: torch.Tensor, timestep: torch.Tensor, condition: Condition) -> torch.Tensor:
            down, middle = self._controlnet(
                latents,
                timestep,
                encoder_hidden_states=condition.context,
                controlnet_cond=control.expand(len(latents), -1, -1, -1) if len(control) == 1 else control,
                added_cond_kwargs=added_conditions(condition, torch.float32),
                return_dict=False,
            )
            dtype = denoiser.unet.dtype
            output: torch.Tensor = denoiser(
                latents,
                timestep,
                condition,
                down_block_additional_residuals=[residual.to(dtype) for residual in down],
                mid_block_additional_residual=middle.to(dtype),
            )
            return output

        return predict

    def sample(self) -> list[Image.Image]:
        """The first example's control picture, and what is drawn after it."""
        material = self._material
        generator = torch.Generator().manual_seed(material.lesson.request.seed)
        control = self._controls.of(material.batches.shown(1), generator).to(material.device)
        return [to_image(control[0] * 2 - 1), *material.sample(predict=self.steered(control))]
