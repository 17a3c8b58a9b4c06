"""NovelAI's pictures: JSON in `Comment`, in text chunks or hidden in the alpha channel (`stealth`)."""

from collections.abc import Mapping

from webui.metadata.mapping import Mapped, as_object, read_json, show_all
from webui.metadata.names import of_novelai
from webui.requests import ImageToImage, TextToImage
from webui.sentences import Sentence

_FIELDS = (
    ("uc", "negative_prompt"),
    ("steps", "num_inference_steps"),
    ("scale", "guidance_scale"),
    ("seed", "seed"),
    ("width", "width"),
    ("height", "height"),
)
_WITHOUT_COUNTERPART = (
    *("cfg_rescale", "sm", "sm_dyn", "dynamic_thresholding", "skip_cfg_above_sigma", "uncond_scale"),
    *("reference_strength", "controlnet_model"),
)
_SEED_DELTA = 31337
"""What NovelAI adds to the seed for later noise, and its second last layer of CLIP: in no file, but known."""
_OFF: Mapping[str, object] = {"uncond_scale": 1.0}
"""Values that change nothing, besides 0, false and empty."""


def read_novelai(texts: Mapping[str, str]) -> Mapped | None:
    """What NovelAI says; None when the texts are not NovelAI's."""
    comment = texts.get("Comment", "")
    found = as_object(read_json(comment))
    if texts.get("Software") != "NovelAI" or not found:
        return None
    mapped = Mapped("NovelAI", ImageToImage.kind if "strength" in found else TextToImage.kind)
    mapped.parameters = comment
    show_all(mapped, found.items())
    mapped.show("Source", texts.get("Source"))
    mapped.take("prompt", "prompt", found.get("prompt", texts.get("Description")))
    for name, field in _FIELDS:
        mapped.take(name, field, found.get(name))
    if "strength" in found:
        mapped.take("strength", "strength", found["strength"])
    sampler, schedule = of_novelai(found.get("sampler"), found.get("noise_schedule", "native"))
    mapped.take("sampler", "sampler", sampler)
    mapped.take("noise_schedule", "schedule", schedule)
    mapped.take("ENSD", "eta_noise_seed_delta", _SEED_DELTA)
    mapped.take("Clip skip", "clip_skip", 2)
    for name in _WITHOUT_COUNTERPART:
        if found.get(name) and found[name] != _OFF.get(name):
            mapped.without_setting(name, found[name])
    if any(mark in f"{found.get('prompt', '')}{found.get('uc', '')}" for mark in "{}"):
        mapped.refuse("prompt", "{ }", Sentence("Its braces are weights in NovelAI and plain text here."))
    return mapped.check()
