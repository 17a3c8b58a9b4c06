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
        has_ema=any(key.startswith(EMA) for header in headers for key in header.shapes),
        modified=path.stat().st_mtime,
    )


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
