"""Names people choose from, known without importing torch.

The engine implements every name in here; a test holds the two lists together.
"""

from collections.abc import Mapping
from typing import Any

SAMPLERS = (
    *("Euler", "Euler a", "Heun", "LMS", "DPM2", "DPM2 a"),
    *("DPM++ 2M", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM++ SDE", "DPM++ 2S a"),
    *("DPM fast", "DPM adaptive", "Restart"),
    *("DDIM", "DDIM CFG++", "PLMS", "UniPC", "DDPM", "LCM"),
)
"""Samplers as users know them (AUTOMATIC1111's names)."""

SCHEDULES = (
    *("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal"),
    *("Align Your Steps", "Simple", "Normal", "DDIM", "Beta"),
)
"""Schedule types: how the noise levels are spread over the steps."""

PREVIEWS = ("Off", "Linear", "Small", "Full")
"""Live preview: none, a linear map from latents to colours, a small decoder, or the decoder itself."""

LATENT_UPSCALERS = (
    *("Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)"),
    *("Latent (nearest)", "Latent (nearest-exact)"),
)
"""Ways to enlarge latents themselves (AUTOMATIC1111's names); all other upscalers enlarge pictures."""

SAME_SAMPLER, SAME_SCHEDULE = "Use same sampler", "Use same scheduler"
SAME_CHECKPOINT = "Use same checkpoint"
"""Of a second pass."""

CHOICES: Mapping[str, tuple[Any, ...]] = {
    "sampler": SAMPLERS,
    "schedule": SCHEDULES,
    "preview": PREVIEWS,
    "emphasis": ("Original", "No norm", "Ignore", "None"),
    "resize_mode": ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)"),
    "mask_mode": ("Inpaint masked", "Inpaint not masked"),
    "masked_content": ("fill", "original", "latent noise", "latent nothing"),
    "inpaint_area": ("Whole picture", "Only masked"),
    "noise_source": ("CPU", "NV"),
    "unipc_variant": ("bh2", "bh1"),
    "hires_sampler": (SAME_SAMPLER, *SAMPLERS),
    "hires_schedule": (SAME_SCHEDULE, *SCHEDULES),
    "size_mode": ("Scale by", "Scale to"),
    # Models.
    "merge_method": ("Weighted sum", "Add difference", "No interpolation"),
    "model_precision": ("as it is", "fp16", "bf16", "fp32"),
    "model_layout": ("as it is", "file", "folder"),
    "model_ema": ("keep", "drop", "use"),
    "model_shelf": ("checkpoints", "vae", "loras", "controlnets", "embeddings", "upscalers"),
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
    "k_lms": "LMS",
    "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2 a",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "k_dpmpp_3m_sde": "DPM++ 3M SDE",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpmpp_2s_a": "DPM++ 2S a",
    "k_dpm_fast": "DPM fast",
    "k_dpm_ad": "DPM adaptive",
    "ddim_cfgpp": "DDIM CFG++",
    "k_lcm": "LCM",
}
_SHORT_SCHEDULES = {"_ka": "Karras", "_exp": "Exponential"}
"""Ends of short joined names: k_dpmpp_2m_ka."""

_SAMPLER_BY_NAME = {**_ALIASES, **{name.lower(): name for name in SAMPLERS}}
_SCHEDULE_BY_NAME = {
    "sgmuniform": "SGM Uniform",
    **{name.lower().replace(" ", "_"): name for name in SCHEDULES},
    **{name.lower(): name for name in SCHEDULES},
}


def sampler_aliases(sampler: str) -> tuple[str, ...]:
    """The short names of old for a sampler, in order."""
    return tuple(alias for alias, name in _ALIASES.items() if name == sampler)


def canonical_sampler(name: str) -> tuple[str, str | None]:
    """Sampler and, when an old joined name such as "DPM++ 2M Karras" holds one, schedule.

    Upper and lower case are alike. Unknown names come back unchanged, for the request type to refuse.
    """
    if sampler := _SAMPLER_BY_NAME.get(name.lower()):
        return sampler, None
    return split_sampler_name(name) or (name, None)


def canonical_schedule(name: str) -> str:
    """The schedule type that a key of AUTOMATIC1111's ("sgm_uniform") or a label means; unknown names unchanged."""
    return _SCHEDULE_BY_NAME.get(name.lower(), name)


def split_sampler_name(name: str) -> tuple[str, str] | None:
    """("DPM++ 2M", "Karras") of the old joined name "DPM++ 2M Karras" or "k_dpmpp_2m_ka"; None for any other name."""
    ends = {**{f" {schedule.lower()}": schedule for schedule in SCHEDULES}, **_SHORT_SCHEDULES}
    for end, schedule in ends.items():
        sampler = _SAMPLER_BY_NAME.get(name.lower().removesuffix(end))
        if name.lower().endswith(end) and sampler:
            return sampler, schedule
    return None
