"""Folders of captioned pictures from the embedded model's scenes: what its LoRAs, ControlNet and siblings learn from.

Writes what `webui.training.data` reads: pictures, and captions, boxes and labels in one metadata.jsonl. The looks are
filters, so that a style LoRA needs no pictures of anybody else.
"""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from webui.errors import TrainingError
from webui.training.embedded.scenes import Composer
from webui.training.embedded.words import caption

PIXEL_BLOCKS = 16
"""Blocks along a side of a pixel-art picture: one per latent of a 128 px picture."""
PIXEL_COLOURS = 12
BLUEPRINT_PAPER = (28, 70, 150)


def pixel_art(picture: Image.Image) -> Image.Image:
    """Large blocks of few colours."""
    small = picture.resize((PIXEL_BLOCKS, PIXEL_BLOCKS), Image.Resampling.BOX)
    few = small.quantize(PIXEL_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return few.resize(picture.size, Image.Resampling.NEAREST)


def blueprint(picture: Image.Image) -> Image.Image:
    """White lines where the picture changes, on blue paper."""
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()[None] / 255
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    lines = F.max_pool2d(((across**2 + down**2).sum(1, keepdim=True).sqrt() * 2).clamp(0, 1), 3, 1, 1)
    paper = torch.tensor(BLUEPRINT_PAPER).float().view(1, 3, 1, 1) / 255
    drawn = (paper + (1 - paper) * lines)[0].permute(1, 2, 0)
    return Image.fromarray((drawn * 255).round().byte().numpy())


LOOKS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "plain": lambda picture: picture,
    "pixel-art": pixel_art,
    "blueprint": blueprint,
}


def write_dataset(composer: Composer, look: str, count: int, folder: Path, seed: int = 0) -> None:
    """`count` pictures with captions, boxes and the label of the first thing. Refuses a folder that holds something."""
    if look not in LOOKS:
        raise TrainingError("Unknown look '{look}'. Known: {known}.", look=look, known=", ".join(LOOKS))
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError("{path} holds something already. Name a new folder.", path=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    lines = []
    for number in tqdm(range(count), desc="pictures", unit="picture", dynamic_ncols=True):
        composition = composer.draw(rng)
        pixels = ((composer.paint([composition])[0] + 1) * 127.5).round().clamp(0, 255).byte()
        name = f"{number:05d}.png"
        LOOKS[look](Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())).save(folder / name)
        lines.append({
            "file_name": name,
            "text": caption(composition.scene, rng),
            "label": composition.scene.things[0].concept.label,
            "boxes": [{"label": label, "box": [round(edge, 4) for edge in box]}
                      for label, box in composer.boxes(composition)],
        })  # fmt: skip
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "metadata.jsonl").write_text(text, "utf-8")
