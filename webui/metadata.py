"""A picture's parameters inside its file: AUTOMATIC1111's infotext for everyone, our JSON for us.

The text is for other tools and cannot hold everything; the JSON is the resolved request itself and gives the
same picture again. Format facts: docs/compatibility.md. Knows no torch.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from webui.errors import InvalidRequest
from webui.requests import TextToImage, to_values

TEXT_KEY = "parameters"
"""PNG text chunk that AUTOMATIC1111 and every tool after it reads."""
JSON_KEY = "easel"
MAX_TEXT = 1_000_000
"""Longer text chunks are not read: no real one comes near."""

NOT_IN_PICTURE = ("preview", "batch_count", "batch_size", "seed")
"""Fields of the request that do not describe one picture; its own seed is written instead."""


@dataclass(frozen=True, kw_only=True)
class PictureMetadata:
    """What a picture file says about how it was made."""

    parameters: str
    """The infotext as found, "" when there is none."""
    values: Mapping[str, Any]
    """Values of a request that makes this picture again, from our JSON or else from the infotext."""
    is_ours: bool


def infotext(request: TextToImage, picture: int, *, model_hash: str, version: str) -> str:
    """A1111's text for picture `picture` of a resolved request: prompts, then one line of `Key: value`."""
    fields = {
        "Steps": request.num_inference_steps,
        "Sampler": request.sampler,
        "Schedule type": request.schedule,
        "CFG scale": _number(request.guidance_scale),
        "Seed": request.seed_of(picture),
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash,
        "Model": request.checkpoint,
        "RNG": "CPU",
        "Version": f"easel {version}",
    }
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in fields.items()))
    return "\n".join(lines).strip()


def encode_png(image: Image.Image, request: TextToImage, picture: int, parameters: str) -> bytes:
    """The picture as PNG with both texts inside. Level 1: three times as fast as the default, 10 % larger."""
    texts = PngImagePlugin.PngInfo()
    if parameters.isascii():
        texts.add_text(TEXT_KEY, parameters)
    else:  # tEXt is Latin-1 only
        texts.add_itxt(TEXT_KEY, parameters)
    own = {name: value for name, value in to_values(request).items() if name not in NOT_IN_PICTURE}
    own |= {"kind": "txt2img", "seed": request.seed_of(picture)}
    texts.add_itxt(JSON_KEY, json.dumps(own, ensure_ascii=False), zip=True)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=texts, compress_level=1)
    return buffer.getvalue()


def read(source: Path | bytes) -> PictureMetadata:
    """What the picture says about itself; nothing found gives empty values. Raises `InvalidRequest` for no picture."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=("PNG",)) as image:
            found = image.info.items()
            texts = {key: value for key, value in found if isinstance(value, str) and len(value) < MAX_TEXT}
    except (OSError, ValueError) as error:
        raise InvalidRequest("This is not a PNG picture that can be read.") from error
    parameters = texts.get(TEXT_KEY, "")
    own = _own_values(texts.get(JSON_KEY, ""))
    return PictureMetadata(parameters=parameters, values=own or parse_infotext(parameters), is_ours=bool(own))


def _own_values(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return {key: value for key, value in values.items() if key != "kind"} if isinstance(values, dict) else {}


def parse_infotext(text: str) -> dict[str, Any]:
    """Values of a request named in an A1111 infotext, in time linear in its length; unknown keys are left out."""
    lines = text.strip().split("\n")
    fields = dict(_fields(lines[-1]))
    if len(fields) < 3:  # A1111's rule: with fewer the last line still belongs to the prompt
        fields = {}
    else:
        lines = lines[:-1]
    prompt, negative = _prompts(lines)
    values: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    for key, name, convert in _INFOTEXT_FIELDS:
        if key in fields:
            try:
                values[name] = convert(fields[key])
            except ValueError:
                continue
    if match := re.fullmatch(r"(\d{1,5})x(\d{1,5})", fields.get("Size", "")):
        values |= {"width": int(match[1]), "height": int(match[2])}
    return values


_INFOTEXT_FIELDS = (
    ("Steps", "num_inference_steps", int),
    ("Sampler", "sampler", str),
    ("Schedule type", "schedule", str),
    ("CFG scale", "guidance_scale", float),
    ("Seed", "seed", int),
    ("Model", "checkpoint", str),
)


def _prompts(lines: list[str]) -> tuple[str, str]:
    for number, line in enumerate(lines):
        if line.strip().startswith("Negative prompt:"):
            first = line.strip().removeprefix("Negative prompt:").strip()
            return "\n".join(lines[:number]).strip(), "\n".join([first, *lines[number + 1 :]]).strip()
    return "\n".join(lines).strip(), ""


def _fields(line: str) -> Iterator[tuple[str, str]]:
    """`Key: value` pairs of a parameter line. A value in double quotes is a JSON string and may hold commas."""
    position = 0
    while position < len(line):
        colon = line.find(":", position)
        if colon < 0:
            return
        key = line[position:colon].strip(" ,")
        begin = _after_spaces(line, colon + 1)
        if line[begin : begin + 1] == '"':
            try:
                value, position = _DECODER.raw_decode(line, begin)
            except ValueError:
                return
        else:
            comma = line.find(",", begin)
            end = comma if comma >= 0 else len(line)
            value, position = line[begin:end].strip(), end
        if re.fullmatch(r"\w[\w \-/]{0,60}", key) and isinstance(value, str):
            yield key, value
        position += 1


def _after_spaces(line: str, position: int) -> int:
    while line.startswith(" ", position):
        position += 1
    return position


_DECODER = json.JSONDecoder()


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",\n:") else text


def _number(value: float) -> str:
    """7 rather than 7.0, as A1111 writes whole numbers that came from a slider."""
    return f"{value:g}"
