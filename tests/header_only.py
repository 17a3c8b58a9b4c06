"""Checkpoint folders with right headers and no sense: enough for everything that never loads a tensor."""

import json
import struct
from pathlib import Path
from typing import Any


def write_safetensors(path: Path, size: int = 64) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))


def write_checkpoint(folder: Path, **card: Any) -> Path:
    """A 128 px checkpoint; `card` becomes its easel.json."""
    files = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline"},
        "unet/config.json": {"sample_size": 16, "cross_attention_dim": 256},
        "vae/config.json": {"block_out_channels": [1, 2, 3, 4]},
        "scheduler/scheduler_config.json": {"prediction_type": "v_prediction"},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    for part in ("unet", "vae", "text_encoder"):
        (folder / part).mkdir(exist_ok=True)
        write_safetensors(folder / part / "model.safetensors")
    if card:
        (folder / "easel.json").write_text(json.dumps(card))
    return folder
