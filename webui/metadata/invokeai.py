"""InvokeAI's three ways: `invokeai_metadata` since version 3, `sd-metadata` of version 2, `Dream` of the first.

Its models are names, so they are handed on; its negative prompt stood in [brackets] before version 3.
"""

import re
from collections.abc import Mapping

from webui.metadata.mapping import Mapped, as_object, read_json, show_all
from webui.metadata.names import of_invokeai
from webui.requests import ImageToImage, TextToImage

_FIELDS = (
    ("positive_prompt", "prompt"),
    ("negative_prompt", "negative_prompt"),
    ("width", "width"),
    ("height", "height"),
    ("seed", "seed"),
    ("cfg_scale", "guidance_scale"),
    ("steps", "num_inference_steps"),
    ("strength", "strength"),
)
_WITHOUT_COUNTERPART = (
    *("positive_style_prompt", "negative_style_prompt", "cfg_rescale_multiplier", "clip_skip", "vae", "loras"),
    *("controlnets", "ipAdapters", "t2iAdapters", "refiner_model", "hrf_enabled", "seamless_x", "seamless_y"),
    *("regions", "control_layers"),
)
_FLAG = re.compile(r"(?:^| )-([SsWHCAf]) ?([\w.+-]{1,40})")
_FLAGS: Mapping[str, str] = {
    "s": "num_inference_steps", "S": "seed", "W": "width", "H": "height", "C": "guidance_scale",
}  # fmt: skip
_MAX_BRACKETS = 200


def read_invokeai(texts: Mapping[str, str]) -> Mapped | None:
    """What InvokeAI wrote, newest way first; None when there is nothing of it."""
    if text := texts.get("invokeai_metadata"):
        return _of_metadata(as_object(read_json(text)), text)
    if text := texts.get("sd-metadata"):
        return _of_sd_metadata(as_object(as_object(read_json(text)).get("image")), as_object(read_json(text)), text)
    if text := texts.get("Dream"):
        return _of_dream(text)
    return None


def _of_metadata(found: Mapping[str, object], text: str) -> Mapped | None:
    if not found:
        return None
    mode = str(found.get("generation_mode", ""))
    mapped = Mapped("InvokeAI", ImageToImage.kind if "img2img" in mode else TextToImage.kind)
    mapped.parameters = text
    show_all(mapped, found.items())
    for name, field in _FIELDS:
        mapped.take(name, field, found.get(name))
    _take_scheduler(mapped, "scheduler", found.get("scheduler"))
    model = as_object(found.get("model"))
    mapped.take("model", "checkpoint", model.get("name", model.get("model_name")))
    for name in _WITHOUT_COUNTERPART:
        if found.get(name):
            mapped.without_setting(name, found[name])
    return mapped.check()


def _of_sd_metadata(image: Mapping[str, object], whole: Mapping[str, object], text: str) -> Mapped | None:
    if not image:
        return None
    kind = ImageToImage.kind if image.get("type") == "img2img" else TextToImage.kind
    mapped = Mapped("InvokeAI", kind)
    mapped.parameters = text
    show_all(mapped, image.items())
    _take_prompts(mapped, _joined(image.get("prompt")))
    for name, field in (*_FIELDS[2:7], ("strength", "strength")):
        mapped.take(name, field, image.get(name))
    _take_scheduler(mapped, "sampler", image.get("sampler"))
    mapped.take("model_weights", "checkpoint", whole.get("model_weights"))
    for name in ("threshold", "perlin", "seamless", "hires_fix", "variations", "postprocessing"):
        if image.get(name):
            mapped.without_setting(name, image[name])
    return mapped.check()


def _joined(prompt: object) -> str:
    """Version 2 wrote a list of weighted prompts, mostly of one."""
    if isinstance(prompt, list):
        return " ".join(str(as_object(part).get("prompt", "")) for part in prompt[:100])
    return prompt if isinstance(prompt, str) else ""


def _of_dream(text: str) -> Mapped | None:
    """`"a cat" -s 50 -S 123 -W 512 -H 512 -C 7.5 -A k_lms`."""
    end = text.rfind('"')
    if not text.startswith('"') or end < 1:
        return None
    mapped = Mapped("InvokeAI")
    mapped.parameters = text
    _take_prompts(mapped, text[1:end])
    for flag, value in _FLAG.findall(text[end + 1 :]):
        mapped.show(f"-{flag}", value)
        if flag == "A":
            _take_scheduler(mapped, "-A", value)
        elif flag in _FLAGS:
            mapped.take(f"-{flag}", _FLAGS[flag], value)
        else:
            mapped.without_setting(f"-{flag}", value)
    return mapped.check()


def _take_prompts(mapped: Mapped, prompt: str) -> None:
    """Split `a cat [blurry, dog]` as version 2 did: everything in square brackets is the negative prompt."""
    pieces = re.split(r"\[([^\[\]]*)\]", prompt, maxsplit=_MAX_BRACKETS)
    mapped.take("prompt", "prompt", "".join(pieces[::2]).strip())
    mapped.take("prompt", "negative_prompt", ", ".join(pieces[1::2]).strip())


def _take_scheduler(mapped: Mapped, name: str, value: object) -> None:
    if value is None:
        return
    sampler, schedule = of_invokeai(value)
    mapped.take(name, "sampler", sampler)
    if "sampler" in mapped.values:
        mapped.take(name, "schedule", schedule)
