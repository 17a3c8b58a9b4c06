"""The tensors of a LoRA file sorted by layer, in the layouts of kohya's scripts, LyCORIS, diffusers and PEFT.

Which layer of a checkpoint a name means is told in `names`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from webui.extension import Weights

from .changes import Change, changes_of

ROLES = (
    (r"\.lora_down\.weight|[._]lora\.down\.weight|\.lora_linear_layer\.down\.weight", "down"),
    (r"\.lora_up\.weight|[._]lora\.up\.weight|\.lora_linear_layer\.up\.weight", "up"),
    (r"\.lora_A(?:\.\w+)?\.weight", "down"),
    (r"\.lora_B(?:\.\w+)?\.weight", "up"),
    (r"\.lora_mid\.weight", "mid"),
    (r"\.alpha", "alpha"),
    (r"\.scalar", "scalar"),
    (r"\.dora_scale|\.lora_magnitude_vector(?:\.\w+)?(?:\.weight)?", "magnitude"),
    *((rf"\.{role}(?:\.(?!weight)\w+)?", role) for role in (
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
        "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "ia3_l",
    )),
    (r"\.on_input", "on_input"),
    (r"\.diff|\.w_norm", "diff"),
    (r"\.diff_b|\.b_norm", "diff_b"),
    (r"\.weight", "ia3"),
)  # fmt: skip
"""End of a tensor's name -> what it is for its layer. The first that fits counts."""
ENDINGS = tuple((re.compile(rf"(.+?)(?:{pattern})"), role) for pattern, role in ROLES)
PROCESSOR = re.compile(r"\.processor(?=\.)")
"""What diffusers once wrote into a layer's name: "attn1.processor.to_q_lora.down.weight"."""


@dataclass(frozen=True)
class LoraFile:
    """What a file changes: name of a layer as the file has it -> "weight" or "bias" -> the change."""

    layers: Mapping[str, Mapping[str, Change]]
    unknown: tuple[str, ...]
    """Names of layers whose kind of change is not known here."""
    context: int
    """Width of the text that the layers were made for, 768, 1024, 2048, …; 0 when the file does not tell."""


def sorted_by_layer(path: Path, weights: Weights) -> LoraFile:
    """What the file at `path` with these tensors changes."""
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.tensors.items():
        if found := _role(name):
            layer, role = found
            layers.setdefault(layer, {})[role] = tensor.flatten() if ".lora_magnitude_vector" in name else tensor
    scales = _Scales(_config(path, weights.metadata))
    changes = {layer: changes_of(roles, scales.of(layer, roles)) for layer, roles in layers.items()}
    return LoraFile(
        layers={layer: found for layer, found in changes.items() if found},
        unknown=tuple(layer for layer, found in changes.items() if not found),
        context=_context(layers),
    )


def _role(name: str) -> tuple[str, str] | None:
    """The layer and the role that a tensor's name stands for."""
    for ending, role in ENDINGS:
        if found := ending.fullmatch(name):
            layer = PROCESSOR.sub("", found[1])
            return (f"{layer}.0" if layer.endswith(".to_out") else layer), role
    return None


def _context(layers: Mapping[str, Mapping[str, torch.Tensor]]) -> int:
    """From a layer that reads the text and has its width as its input."""
    for layer, roles in layers.items():
        down = roles.get("down", roles.get("hada_w1_b"))
        if re.search(r"attn2[._]to_[kv]$", layer) and down is not None and down.dim() > 1:
            return int(down.shape[1])
    return 0


# How strong a file of PEFT is, which its tensors do not say.


def _config(path: Path, metadata: Mapping[str, str]) -> Mapping[str, object]:
    """PEFT's configuration: in the header as diffusers writes it, or in a file beside; empty when there is none."""
    text = metadata.get("lora_adapter_metadata", "")
    beside = path.parent / "adapter_config.json"
    try:
        if not text and path.stem.startswith("adapter_model") and beside.is_file():
            text = beside.read_text("utf-8")
        found = json.loads(text) if text else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


class _Scales:
    """How strong each layer is by PEFT's configuration: alpha / rank, or alpha / √rank under rank stabilization
    (Kalajdzievski 2023, arXiv:2312.03732)."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._parts = _by_part(config)

    def of(self, layer: str, roles: Mapping[str, torch.Tensor]) -> float | None:
        """None: the configuration says nothing, the file's own alpha counts."""
        part = layer.split(".", 1)[0]
        config = self._parts.get(part, self._parts.get("", {}))
        if "alpha" in roles or not config:
            return None
        alpha = _number(config, layer, "lora_alpha" if "lora_alpha" in config else "alpha", "alpha_pattern")
        rank = float(roles["up"].shape[1]) if "up" in roles else _number(config, layer, "r", "rank_pattern")
        if not rank or alpha is None:
            return None
        return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _number(config: Mapping[str, object], layer: str, name: str, pattern: str) -> float | None:
    """The value of a layer: its own, by the end of its name, or everyone's."""
    value, patterns = config.get(name), config.get(pattern)
    for key, each in patterns.items() if isinstance(patterns, Mapping) else ():
        if layer == key or layer.endswith(f".{key}"):
            value = each
    return float(value) if isinstance(value, int | float) else None


def _by_part(config: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """diffusers writes "unet.r" and "text_encoder.r" into one mapping; PEFT's own file is of one network, here ""."""
    parts: dict[str, dict[str, object]] = {}
    for name, value in config.items():
        part, _, rest = name.rpartition(".")
        parts.setdefault(part, {})[rest] = value
    return parts
