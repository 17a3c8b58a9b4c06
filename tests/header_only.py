"""Checkpoint folders with right headers and no sense: enough for everything that never loads a tensor."""

import json
import math
import struct
import zipfile
from collections.abc import Mapping
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


Shapes = Mapping[str, tuple[int, ...]]

SD1: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}
SD2: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
    "cond_stage_model.model.token_embedding.weight": (49408, 1024),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}
SDXL: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
    "conditioner.embedders.1.model.positional_embedding": (77, 1280),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}
REFINER: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (384, 4, 3, 3),
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (768, 1280),
    "conditioner.embedders.0.model.positional_embedding": (77, 1280),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}
LORA: Shapes = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (8, 768),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (320, 8),
}
VAE: Shapes = {"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, 4, 3, 3)}


def write_tensors(path: Path, shapes: Shapes, metadata: Mapping[str, str] | None = None) -> Path:
    """A .safetensors file of F16 zeros that take no room on the disk."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    content = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(content)) + content)
        file.truncate(8 + len(content) + end)
    return path


def pickle_of(shapes: Shapes, calls: bytes = b"") -> bytes:
    """What torch.save pickles of a dictionary of tensors, instruction by instruction; `calls` come first."""
    items = b"".join(_text(name) + _tensor(shape) for name, shape in shapes.items())
    return b"\x80\x02" + calls + b"}(" + items + b"u."


def write_pickle(path: Path, content: bytes, packing: int = zipfile.ZIP_STORED) -> Path:
    """A file as torch.save makes it, of which only the pickle has sense."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", bytes(100_000))
    return path


def _tensor(shape: tuple[int, ...]) -> bytes:
    numbers = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in shape) + b"t"
    storage = b"(" + _text("storage") + b"ctorch\nHalfStorage\n" + _text("0") + _text("cpu") + b"K\x04tQ"
    rest = 2 * numbers + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + rest + b"tR"


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()
