"""Names people choose from, known without importing torch.

The engine implements every name in here; a test holds the two lists together.
"""

from collections.abc import Mapping
from typing import Any

SAMPLERS = ("Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ 2M SDE", "DDIM", "UniPC")
"""Samplers as users know them (AUTOMATIC1111's names)."""

SCHEDULES = ("Automatic", "Uniform", "Karras", "Exponential", "SGM Uniform", "Simple")
"""Schedule types: how the noise levels are spread over the steps."""

PREVIEWS = ("Off", "Linear", "Full")
"""Live preview: none, a linear map from latents to colours, or the decoder itself."""

CHOICES: Mapping[str, tuple[Any, ...]] = {
    "sampler": SAMPLERS,
    "schedule": SCHEDULES,
    "preview": PREVIEWS,
    # Training.
    "precision": ("fp32", "bf16", "fp16"),
    "regularisation": ("KL", "VQ"),
    "downsampling": (1, 2, 4, 8, 16, 32),
    "conditioning": ("none", "class", "text", "layout", "super-resolution", "inpainting"),
    "objective": ("epsilon", "v_prediction", "sample"),
    "noise_schedule": ("linear", "scaled_linear", "cosine", "zero_snr"),
    "control": ("edges", "scribble", "given"),
    "lora_layers": ("attention", "attention and feed-forward", "all"),
}
"""Name of a registry, as `Param.choices` says it, to its names."""

_ALIASES = {
    "k_euler": "Euler",
    "k_euler_a": "Euler a",
    "k_euler_ancestral": "Euler a",
    "k_heun": "Heun",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "ddim": "DDIM",
    "unipc": "UniPC",
}


def canonical_sampler(name: str) -> tuple[str, str | None]:
    """Sampler and, when an old joined name such as "DPM++ 2M Karras" holds one, schedule.

    Unknown names come back unchanged, for the request type to refuse.
    """
    if name in SAMPLERS:
        return name, None
    if name in _ALIASES:
        return _ALIASES[name], None
    for schedule in SCHEDULES:
        suffix = f" {schedule}"
        if name.endswith(suffix) and name.removesuffix(suffix) in SAMPLERS:
            return name.removesuffix(suffix), schedule
    return name, None
