"""The networks of a checkpoint as training needs them: Stable Diffusion 1 and 2, SDXL and Easel's own folders.

Owns loading, encoding texts and pictures, and building a new UNet; knows no objective and no data.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import torch
import transformers.utils.logging
from diffusers import AutoencoderKL, UNet2DConditionModel, VQModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from webui.engine.device import Device
from webui.engine.loading.folder import load_network, load_tokenizer
from webui.errors import CheckpointError, TrainingError
from webui.library import read_json

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precision of a request -> what frozen networks are kept in. Trained weights are always fp32."""

BIG_UNET = 200_000_000
"""Parameters above which activations are computed again in the backward pass instead of being kept: Stable
Diffusion's 860 million fit a consumer card then."""


@dataclass(frozen=True)
class TextStates:
    """What a UNet is given of some texts."""

    hidden: torch.Tensor
    """(n, tokens, features)."""
    pooled: torch.Tensor | None = None
    """(n, features), SDXL only."""


@dataclass(frozen=True)
class Tower:
    """A tokenizer with its text encoder, CLIP-shaped."""

    tokenizer: Any
    encoder: Any
    """CLIPTextModel, or CLIPTextModelWithProjection for SDXL's second."""

    @property
    def length(self) -> int:
        """Tokens per text, start and end included; every text is padded to it."""
        return min(int(self.tokenizer.model_max_length), int(self.encoder.config.max_position_embeddings))

    def tokens(self, texts: Sequence[str]) -> Any:  # transformers' BatchEncoding
        return self.tokenizer(
            list(texts), padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )

    def mask(self, tokens: Any) -> torch.Tensor | None:
        """Only for the rare encoder whose config asks for it, as in diffusers."""
        if not getattr(self.encoder.config, "use_attention_mask", False):
            return None
        mask: torch.Tensor = tokens.attention_mask.to(self.encoder.device)
        return mask


class TextEncoders:
    """The one or two towers of a checkpoint, encoding exactly as diffusers' pipelines do."""

    def __init__(self, towers: Sequence[Tower], path: Path) -> None:
        self.towers = tuple(towers)
        self.path = path
        """Folder of the checkpoint they come from."""

    @property
    def is_xl(self) -> bool:
        return len(self.towers) == 2

    @property
    def features(self) -> int:
        """Width of the hidden states, which the UNet's cross_attention_dim must equal."""
        return sum(int(tower.encoder.config.hidden_size) for tower in self.towers)

    def encode(self, texts: Sequence[str]) -> TextStates:
        """With gradients where they are on. SD: the last layer, normed. SDXL: the last but one, and the pooled text."""
        outputs = []
        for tower in self.towers:
            tokens = tower.tokens(texts)
            ids = tokens.input_ids.to(tower.encoder.device)
            outputs.append(tower.encoder(ids, attention_mask=tower.mask(tokens), output_hidden_states=self.is_xl))
        if not self.is_xl:
            return TextStates(outputs[0][0])
        return TextStates(torch.cat([output.hidden_states[-2] for output in outputs], dim=-1), outputs[1].text_embeds)

    @torch.no_grad()
    def encode_frozen(self, texts: Sequence[str], batch: int = 32) -> TextStates:
        """Many texts, in batches, without gradients; fp32 on the CPU."""
        parts = [self.encode(texts[begin : begin + batch]) for begin in range(0, len(texts), batch)]
        pooled = [part.pooled.float().cpu() for part in parts if part.pooled is not None]
        hidden = torch.cat([part.hidden.float().cpu() for part in parts])
        return TextStates(hidden, torch.cat(pooled) if pooled else None)


class FirstStage:
    """Pictures to latents and back: an AutoencoderKL, or a VQModel whose latents are taken before quantisation.

    Always in fp32: SDXL's overflows in half precision, and every picture is encoded only once.
    """

    def __init__(self, vae: Any, folder: Path) -> None:  # AutoencoderKL or VQModel
        self.vae = vae
        self.folder = folder

    @property
    def factor(self) -> int:
        """Pixels per latent along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def channels(self) -> int:
        config = self.vae.config
        return int(config.get("vq_embed_dim") or config.latent_channels)

    @torch.no_grad()
    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in [-1, 1] -> (n, channels, h / factor, w / factor), scaled: the mean of the posterior."""
        with torch.autocast(self.vae.device.type, enabled=False):
            encoded = self.vae.encode(pictures.to(self.vae.device, torch.float32))
        latents = encoded.latents if isinstance(self.vae, VQModel) else encoded.latent_dist.mode()
        shift = self.vae.config.get("shift_factor") or 0.0
        scaled: torch.Tensor = (latents - shift) * self.vae.config.scaling_factor
        return scaled


@dataclass(frozen=True, kw_only=True)
class Networks:
    """A checkpoint, frozen and ready to be trained on."""

    path: Path
    unet: Any
    """UNet2DConditionModel."""
    first_stage: FirstStage
    texts: TextEncoders
    scheduler: Mapping[str, Any]
    """Contents of scheduler_config.json."""

    @property
    def is_xl(self) -> bool:
        return bool(self.unet.config.addition_embed_type == "text_time")

    @property
    def family(self) -> str:
        """ "sd1", "sd2" or "sdxl", by shape; a small model of Stable Diffusion's kind counts as "sd1"."""
        if self.is_xl:
            return "sdxl"
        return "sd2" if self.unet.config.cross_attention_dim == 1024 else "sd1"

    @property
    def multiple(self) -> int:
        """Pixels that width and height must be multiples of, so that every level of the UNet halves evenly."""
        return int(self.first_stage.factor * 2 ** (len(self.unet.config.block_out_channels) - 1))


def load_networks(path: Path, device: str, precision: str) -> Networks:
    """A checkpoint with text conditioning, for adapters. Raises `CheckpointError` naming the part that is wrong."""
    texts = load_texts(path, device, precision)
    first_stage = load_first_stage(path, device)
    unet = load_unet(path, device, precision)
    if texts.features != unet.config.cross_attention_dim:
        raise CheckpointError(
            "Its text encoders give {given} features but its unet takes {taken}. Take all parts from one model.",
            given=texts.features,
            taken=unet.config.cross_attention_dim,
        )
    if unet.config.in_channels != first_stage.channels:
        raise CheckpointError(
            "Its unet takes {taken} channels and its latents have {given}: it is for inpainting or upscaling. "
            "Train on a plain text-to-image checkpoint.",
            taken=unet.config.in_channels,
            given=first_stage.channels,
        )
    return Networks(
        path=path,
        unet=unet,
        first_stage=first_stage,
        texts=texts,
        scheduler=read_json(path / "scheduler" / "scheduler_config.json"),
    )


def load_unet(path: Path, device: str, precision: str) -> Any:
    quieten()
    unet = load_network(UNet2DConditionModel, path / "unet", _device(device, precision), torch_dtype=DTYPES[precision])
    return save_memory(unet)


def load_first_stage(path: Path, device: str) -> FirstStage:
    """From a checkpoint (folder vae/ or vqvae/) or from a folder of models/vae itself."""
    quieten()
    folder = next((path / name for name in ("vae", "vqvae") if (path / name).is_dir()), path)
    kind = VQModel if read_json(folder / "config.json").get("_class_name") == "VQModel" else AutoencoderKL
    return FirstStage(load_network(kind, folder, _device(device, "fp32"), torch_dtype=torch.float32), folder)


def load_texts(path: Path, device: str, precision: str) -> TextEncoders:
    """The text encoders of a checkpoint. Raises `CheckpointError`, also for a folder that has none."""
    quieten()
    if not (path / "text_encoder").is_dir():
        raise CheckpointError(
            "{folder} holds no text encoder. Choose a checkpoint that understands text.", folder=path.name
        )
    kinds = [("tokenizer", "text_encoder", CLIPTextModel)]
    if (path / "text_encoder_2").is_dir():
        kinds.append(("tokenizer_2", "text_encoder_2", CLIPTextModelWithProjection))
    where, dtype = _device(device, precision), DTYPES[precision]
    return TextEncoders(
        [
            Tower(load_tokenizer(path / tokenizer), load_network(kind, path / encoder, where, dtype=dtype))
            for tokenizer, encoder, kind in kinds
        ],
        path,
    )


def quieten() -> None:
    """No progress bars on the console."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _device(device: str, precision: str) -> Device:
    return Device(torch_device=torch.device(device), name=device, dtype=DTYPES[precision])


def save_memory(unet: Any) -> Any:
    """Switch gradient checkpointing on where the network is big."""
    if sum(weight.numel() for weight in unet.parameters()) > BIG_UNET:
        unet.enable_gradient_checkpointing()
    return unet


def halved(network: Any) -> Any:
    """A copy in fp16 on the CPU, for saving. Never two whole copies in fp32: the big ones would not fit."""
    with torch.device("meta"):
        copy = type(network).from_config(network.config)
    weights = {name: tensor.detach().half().cpu() for name, tensor in network.state_dict().items()}
    copy.load_state_dict(weights, assign=True)
    return copy


def build_unet(*, base_channels: int, latent_size: int, channels: int, out_channels: int, features: int) -> Any:
    """A new UNet in the proportions of Rombach et al. 2022, table 12 and after: widths 1, 2, 4 (and 4 again for big
    latents) times `base_channels`, two residual blocks per level, cross-attention on all levels but the first.

    `latent_size` is the side of square latents, `features` the width of the conditioning tokens.
    """
    levels = 1 + min(3, max(1, int(math.log2(max(2, latent_size))) - 2))
    widths = tuple(base_channels * multiple for multiple in (1, 2, 4, 4)[:levels])
    attending = levels - 1
    return save_memory(
        UNet2DConditionModel(
            sample_size=latent_size,
            in_channels=channels,
            out_channels=out_channels,
            block_out_channels=widths,
            layers_per_block=2,
            down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * attending),
            up_block_types=(*["CrossAttnUpBlock2D"] * attending, "UpBlock2D"),
            cross_attention_dim=features,
            attention_head_dim=tuple(width // math.gcd(width, 64) for width in widths),  # diffusers' name for heads
            norm_num_groups=math.gcd(base_channels, 32),
        )
    )


@torch.no_grad()
def widen_input(unet: Any, channels: int) -> None:
    """Let the UNet take `channels` channels. The new weights are zero, so at first nothing changes.

    Raises `TrainingError` when it takes more already.
    """
    narrow = unet.conv_in
    missing = channels - narrow.in_channels
    if missing < 0:
        raise TrainingError(
            "The checkpoint's unet takes {found} channels, more than the {wanted} that this conditioning has. "
            "Start from a plain checkpoint.",
            found=narrow.in_channels,
            wanted=channels,
        )
    if missing == 0:
        return
    wide = nn.Conv2d(
        channels, narrow.out_channels, narrow.kernel_size, narrow.stride, narrow.padding, dtype=narrow.weight.dtype
    ).to(narrow.weight.device)
    wide.weight.zero_()
    wide.weight[:, : narrow.in_channels] = narrow.weight
    wide.bias.copy_(narrow.bias)  # type: ignore[union-attr]  # Conv2d has one unless told otherwise
    unet.conv_in = wide
    unet.register_to_config(in_channels=channels)
