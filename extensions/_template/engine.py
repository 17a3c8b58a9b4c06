"""What it does to a picture. Runs where the model is, perhaps on another machine."""

import numpy as np
from PIL import Image

from webui.extension import EngineHooks

from .options import Options


class Engine(EngineHooks[Options]):
    def after_decode(self, image: Image.Image, picture: int) -> Image.Image:
        levels = np.asarray(image, dtype=np.float32)
        random = np.random.default_rng(self.context.request.seed + picture)
        grain = random.normal(0.0, 40.0 * self.options.amount, levels.shape[:2])
        return Image.fromarray((levels + grain[..., None]).clip(0, 255).astype(np.uint8))
