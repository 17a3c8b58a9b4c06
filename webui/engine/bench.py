"""`launch.py bench engine`, the half that needs torch: what the engine adds to the network calls it makes.

The calls are timed inside the very run they are compared with, so a busy machine does not bend the ratio.
"""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from webui.contract import Job
from webui.engine.attention import fastest_attention
from webui.engine.device import pick_device
from webui.engine.generation import Generation, Helpers
from webui.engine.loading import load_checkpoint
from webui.engine.models import Components
from webui.engine.stopwatch import Stopwatch
from webui.engine.upscaling import Upscalers
from webui.library import Library
from webui.requests import PictureRequest, build

STEPS = 20
ROUNDS = 3


def measure_engine(models_dir: Path, device: str) -> Mapping[str, float]:
    """Seconds per picture of the default checkpoint at its own size, by name of the measurement."""
    passport = Library(models_dir / "checkpoints").default()
    values = {**passport.defaults, "checkpoint": passport.name, "num_inference_steps": STEPS, "seed": 1}
    request = build("txt2img", {**values, "prompt": "a red apple", "preview": "Off"})
    assert isinstance(request, PictureRequest)
    chosen = pick_device(device)
    components = load_checkpoint(passport, chosen, fastest_attention(chosen.torch_device))

    helpers = Helpers(lambda _: components, Upscalers(dict, chosen))

    def draw(preview: str) -> float:
        wanted = replace(request, preview=preview)
        job = Job(id="bench", request=wanted)
        begin = time.perf_counter()
        for _event in Generation(job, wanted, components, "", lambda: None, Stopwatch(), helpers).events():
            pass
        return time.perf_counter() - begin

    draw("Full")  # warms everything up and is not counted
    off: list[float] = []
    linear: list[float] = []
    full: list[float] = []
    ratio: list[float] = []
    for _ in range(ROUNDS):
        off.append(draw("Off"))
        linear.append(draw("Linear"))
        full.append(draw("Full"))
        with network_seconds(components) as calls:
            ratio.append(draw("Off") / sum(calls))
    return {
        f"picture, {STEPS} steps, {request.width}×{request.height} (s)": statistics.median(off),
        "whole picture / its UNet and VAE calls": statistics.median(ratio),
        "live preview Linear adds (s)": statistics.median(linear) - statistics.median(off),
        "live preview Full adds (s)": statistics.median(full) - statistics.median(off),
    }


@contextmanager
def network_seconds(components: Components) -> Iterator[list[float]]:
    """Seconds of every call of the UNet and of the VAE's decoder made in this block."""
    seconds: list[float] = []
    begun: list[float] = []

    def now() -> float:
        if components.device.type == "cuda":  # calls return before the card has done them
            torch.cuda.synchronize(components.device)
        return time.perf_counter()

    with ExitStack() as hooks:
        for network in (components.unet, components.vae.decoder):
            for handle in (
                network.register_forward_pre_hook(lambda *_: begun.append(now())),
                network.register_forward_hook(lambda *_: seconds.append(now() - begun.pop())),
            ):
                hooks.callback(handle.remove)
        yield seconds
