"""What a model weighs, told from headers: bytes on the disk, numbers that are loaded, their precision."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from webui.library.headers import Header, read_header
from webui.library.scan import SAFETENSORS

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8,
}  # fmt: skip
"""Names of safetensors -> bits of a number."""
CALLED = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}
"""The same -> what people call them."""
LOADED = ("unet", "vae", "text_encoder", "text_encoder_2", "conditioner")
"""Folders of a diffusers checkpoint that drawing reads."""
VARIANT = re.compile(r"\.(fp16|bf16|non_ema)(-\d+-of-\d+)?\.safetensors$")
DENOISER = re.compile(r"model\.diffusion_model\.input_blocks\.0\.0\.weight|conv_in\.weight")
DECODER = re.compile(r"(first_stage_model\.|vae\.)?decoder\.conv_out\.weight")
LEVEL = re.compile(r"(?:^|\.)decoder\.up(?:_blocks)?\.(\d+)\.")
WIDTHS = re.compile(rf"^(?:{DENOISER.pattern})$|^{DECODER.pattern}$|{LEVEL.pattern}")
EMA = "model_ema."
"""Begins the keys of the moving average that a training kept beside the weights; no picture is drawn with it."""


@dataclass(frozen=True)
class Weights:
    """Sizes of a model."""

    bytes: int = 0
    """Of its files of weights on the disk."""
    numbers: int = 0
    """Parameters that are loaded to use it; 0 when its header does not tell."""
    precision: str = ""
    """Of most of them: "fp32", "fp16", "bf16", "fp8", "fp64"; "" when unknown."""
    has_ema: bool = False
    denoiser_width: int = 0
    """Features of the denoiser's first level; 0 where there is none or its header does not tell."""
    decoder_width: int = 0
    """Features of the autoencoder's decoder where its picture is widest."""
    factor: int = 8
    """Pixels per latent along a side."""
    modified: float = 0.0
    """Seconds since 1970."""


def weigh(path: Path) -> Weights:
    """A file, or a folder with all weights below it. What cannot be read counts by its size alone."""
    files = [path] if path.is_file() else sorted(_files(path))
    headers = [header for file in files if _is_loaded(file, path) and (header := _header(file)) is not None]
    counts: dict[str, int] = {}
    for header in headers:
        for key, entry in header.entries.items():
            if not key.startswith(EMA):
                kind = str(entry.get("dtype"))
                counts[kind] = counts.get(kind, 0) + math.prod(header.shapes[key])
    floats = {kind: count for kind, count in counts.items() if kind in CALLED}
    return Weights(
        bytes=sum(file.stat().st_size for file in files),
        numbers=sum(floats.values()),
        precision=CALLED[max(floats, key=lambda kind: floats[kind])] if floats else "",
        **_widths(headers),
        has_ema=any(key.startswith(EMA) for header in headers for key in header.shapes),
        modified=path.stat().st_mtime,
    )


def _widths(headers: Iterable[Header]) -> dict[str, int]:
    """What a picture needs beside the weights grows with these."""
    shapes = {
        key: shape
        for header in headers
        for key, shape in header.shapes.items()
        if ("conv" in key or "decoder.up" in key or "input_blocks.0.0." in key) and WIDTHS.search(key)
    }  # the words first: there are thousands of keys, and a pattern takes its time for each
    told: dict[str, int] = {}
    for name, pattern, side in (("denoiser_width", DENOISER, 0), ("decoder_width", DECODER, 1)):
        found = next((shape for key, shape in shapes.items() if pattern.fullmatch(key)), ())
        told |= {name: found[side]} if len(found) == 4 else {}
    levels = {match[1] for key in shapes if (match := LEVEL.search(key))}
    return told | ({"factor": 2 ** (len(levels) - 1)} if levels else {})


def _files(folder: Path) -> Iterable[Path]:
    return (file for file in folder.rglob("*.safetensors") if not any(part.startswith(".") for part in file.parts))


def _is_loaded(file: Path, model: Path) -> bool:
    """Of a folder of diffusers: neither a variant in another precision nor a safety checker."""
    is_checkpoint = (model / "model_index.json").is_file()
    return not VARIANT.search(file.name) and (not is_checkpoint or file.parent.name in LOADED)


def _header(file: Path) -> Header | None:
    if file.suffix not in SAFETENSORS:
        return None
    try:
        return read_header(file)
    except Exception:  # what is wrong with it is told by whoever describes it
        return None
