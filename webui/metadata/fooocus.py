"""Fooocus' own scheme: one JSON object in `parameters`. Its other scheme is an infotext, see `webuis`."""

import re
from collections.abc import Mapping

from webui.metadata.comfyui import without_suffix
from webui.metadata.mapping import Mapped, read_json, show_all
from webui.metadata.names import of_comfyui

_FIELDS = (
    ("prompt", "prompt"),
    ("negative_prompt", "negative_prompt"),
    ("steps", "num_inference_steps"),
    ("guidance_scale", "guidance_scale"),
    ("seed", "seed"),
)
_WITHOUT_COUNTERPART = (
    *("styles", "sharpness", "adm_guidance", "refiner_model", "refiner_switch", "prompt_expansion", "clip_skip"),
    *("loras", "vae", "freeu", "adaptive_cfg"),
)
_RESOLUTION = re.compile(r"\s*\(?\s*(\d{1,6})\s*[,x×]\s*(\d{1,6})\s*\)?\s*")


def read_fooocus(text: str) -> Mapped | None:
    """What Fooocus says; None when the text is no such object."""
    found = read_json(text) if text.lstrip()[:1] == "{" else None
    if not isinstance(found, dict) or not {"metadata_scheme", "base_model", "performance"} & found.keys():
        return None
    mapped = Mapped("Fooocus")
    mapped.parameters = text
    show_all(mapped, found.items())
    for name, field in _FIELDS:
        mapped.take(name, field, found.get(name))
    sampler, schedule = of_comfyui(found.get("sampler"), found.get("scheduler"))
    mapped.take("scheduler", "schedule", schedule)
    mapped.take("sampler", "sampler", sampler)
    if match := _RESOLUTION.fullmatch(str(found.get("resolution", ""))[:40]):
        mapped.take("resolution", "width", match[1])
        mapped.take("resolution", "height", match[2])
    if isinstance(model := found.get("base_model"), str):
        mapped.take("base_model", "checkpoint", without_suffix(model))
    _name_the_rest(mapped, found)
    return mapped.check()


def _name_the_rest(mapped: Mapped, found: Mapping[str, object]) -> None:
    for name in _WITHOUT_COUNTERPART:
        if found.get(name) not in (None, "", "None", [], "[]"):
            mapped.without_setting(name, found[name])
