"""Low-rank additions to a checkpoint's weights: Hu et al. 2021 (arXiv:2106.09685), through peft.

Owns which layers get them, how they are trained and the file they end in, which carries kohya's names and is read by
every tool. Using a LoRA on pictures is the engine's business.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import nn

from webui.train_requests import TrainLora
from webui.training.adapter import Lesson, prepare_material, required_checkpoint
from webui.training.course import Course, stage_of
from webui.training.loop import Trainer
from webui.training.networks import Networks, load_networks
from webui.training.results import TOKEN_KEY, claim, write_tensors
from webui.training.session import Update, Workspace

ADAPTER = "default"

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv")
UNET_LAYERS: Mapping[str, tuple[str, ...]] = {
    "attention": ATTENTION,
    "attention and feed-forward": (*ATTENTION, *FEED_FORWARD),
    "all": (*ATTENTION, *FEED_FORWARD, *CONVOLUTIONS),
}
"""Choice of a request -> ends of the names of the UNet's layers."""

TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
TEXT_LAYERS: Mapping[str, tuple[str, ...]] = {
    "attention": TEXT_ATTENTION,
    "attention and feed-forward": (*TEXT_ATTENTION, "fc1", "fc2"),
    "all": (*TEXT_ATTENTION, "fc1", "fc2"),
}

ARCHITECTURES = {"sd1": "stable-diffusion-v1", "sd2": "stable-diffusion-v2", "sdxl": "stable-diffusion-xl-v1-base"}
"""Family -> its name in Stability's ModelSpec."""


def train_lora(request: TrainLora, workspace: Workspace) -> Iterator[Update]:
    """Train, or go on training. Raises `UserError` for a checkpoint or dataset that cannot be used."""
    result = workspace.models / request.result
    token = claim(result, workspace.run)
    networks = load_networks(required_checkpoint(workspace), workspace.device, request.precision)
    lora = add_lora(networks, request)
    trainer = Trainer(stage_of(request, workspace), lora.model, lora.weights)
    prompt = with_trigger(request.sample_prompt, request.trigger) if request.sample_prompt else ""
    lesson = Lesson(
        request=request,
        workspace=workspace,
        networks=networks,
        done=trainer.step,
        caption_of=lambda example: with_trigger(example.caption, request.trigger),
        texts_learn=request.train_text_encoder,
    )
    with trainer.accelerator.main_process_first():
        material = yield from prepare_material(lesson, [prompt])

    def write() -> Path:
        metadata = {**kohya_metadata(request, networks), TOKEN_KEY: token}
        return write_tensors(kohya_tensors(lora.parts, networks), metadata, result)

    yield from Course(
        request=request, trainer=trainer, loss_of=material.loss, sample=lambda: material.sample(prompt), write=write
    ).updates()


def with_trigger(caption: str, trigger: str) -> str:
    return ", ".join(part for part in (trigger, caption) if part)


@dataclass(frozen=True)
class Lora:
    """Networks with additions in them."""

    parts: Mapping[str, Any]
    """kohya's prefix ("lora_unet", "lora_te", …) -> network."""
    weights: list[nn.Parameter]

    @property
    def model(self) -> nn.Module:
        return nn.ModuleDict(self.parts)


def add_lora(networks: Networks, request: TrainLora) -> Lora:
    """Put fresh additions into the networks: B is zero, so at first nothing changes."""
    parts: dict[str, Any] = {"lora_unet": networks.unet}
    targets = {"lora_unet": UNET_LAYERS[request.layers]}
    if request.train_text_encoder:
        for prefix, tower in zip(text_prefixes(networks), networks.texts.towers, strict=True):
            parts[prefix], targets[prefix] = tower.encoder, TEXT_LAYERS[request.layers]
    with torch.random.fork_rng():
        torch.manual_seed(request.seed)
        for prefix, part in parts.items():
            config = LoraConfig(r=request.rank, lora_alpha=request.alpha, target_modules=list(targets[prefix]))  # type: ignore[arg-type]
            part.add_adapter(config, ADAPTER)
    weights = [weight for part in parts.values() for weight in part.parameters() if weight.requires_grad]
    for weight in weights:
        weight.data = weight.data.float()  # peft makes them in the precision of the layer they are for
    return Lora(parts, weights)


def text_prefixes(networks: Networks) -> tuple[str, ...]:
    return ("lora_te1", "lora_te2") if networks.is_xl else ("lora_te",)


def kohya_tensors(parts: Mapping[str, Any], networks: Networks) -> dict[str, torch.Tensor]:
    """The additions in fp16 under kohya's names: prefix_name.lora_down.weight, .lora_up.weight, .alpha."""
    tensors = {}
    for prefix, part in parts.items():
        for name, layer in part.named_modules():
            if not isinstance(layer, LoraLayer):
                continue
            key = f"{prefix}_{kohya_name(name, prefix, networks)}"
            tensors[f"{key}.lora_down.weight"] = layer.lora_A[ADAPTER].weight.detach().half()  # type: ignore[operator]
            tensors[f"{key}.lora_up.weight"] = layer.lora_B[ADAPTER].weight.detach().half()  # type: ignore[operator]
            tensors[f"{key}.alpha"] = torch.tensor(float(layer.lora_alpha[ADAPTER]))
    return tensors


def kohya_name(name: str, prefix: str, networks: Networks) -> str:
    """A layer as kohya calls it. SDXL's UNet goes by the names of Stability's own code there."""
    if prefix.startswith("lora_te"):
        name = name if name.startswith("text_model.") else f"text_model.{name}"  # transformers 5 left this level out
    elif networks.is_xl:
        name = sgm_name(name, int(networks.unet.config.layers_per_block))
    return name.replace(".", "_")


RESNET_NAMES = {
    "conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"
}  # fmt: skip


def sgm_name(name: str, layers_per_block: int) -> str:
    """A layer of diffusers' UNet as Stability's generative-models call it; other names come back unchanged.

    There all blocks of a side are in one list: `layers_per_block` (one more on the way up) and, counted as one of
    their own on the way down, the resampling.
    """
    found = re.fullmatch(
        r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name
    )
    if found is None:
        return name
    side, block, kind, number, rest = found.groups()
    rest = RESNET_NAMES.get(rest, rest) if kind == "resnets" else rest
    place = {"resnets": 0, "attentions": 1, "downsamplers": 0, "upsamplers": 2}[kind]
    if side is None:
        return f"middle_block.{int(number) * 2 if kind == 'resnets' else 1}.{rest}"
    within = int(number) if kind in ("resnets", "attentions") else layers_per_block
    index = int(block) * (layers_per_block + 1) + within
    if side == "up":
        return f"output_blocks.{index}.{place}.{rest}"
    return f"input_blocks.{index + 1}.{place}.{'op' if kind == 'downsamplers' else rest}"


def kohya_metadata(request: TrainLora, networks: Networks) -> dict[str, str]:
    """A header as kohya's scripts and Stability's ModelSpec have it, so that other tools show what this is."""
    values = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": request.rank,
        "ss_network_alpha": request.alpha,
        "ss_output_name": request.name,
        "ss_sd_model_name": networks.path.name,
        "ss_base_model_version": {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}[networks.family],
        "ss_steps": request.steps,
        "ss_learning_rate": request.learning_rate,
        "ss_resolution": f"({request.size}, {request.size})",
        "ss_v2": networks.family == "sd2",
        "modelspec.architecture": f"{ARCHITECTURES[networks.family]}/lora",
        "modelspec.title": request.name,
        "modelspec.trigger_phrase": request.trigger,
    }
    own = json.dumps({"kind": request.kind, **dataclasses.asdict(request)}, ensure_ascii=False)
    return {**{name: str(value) for name, value in values.items()}, "easel": own}
