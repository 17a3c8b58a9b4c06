"""What can be seen on an accelerator only: prints a line per check, writes figures as JSON, ends with 1 if one failed.

    tests/gpu/run.sh FOLDER        on the machine with the card, under 8 minutes
    python -m tests.gpu.prove --device cpu --tiny --output FOLDER       the rehearsal, anywhere

Pictures are compared with the same engine on the CPU in fp32; speed is measured on networks of the true sizes with
random weights, which lie nowhere in the repository.
"""

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.tiny import build_tiny_checkpoint, build_tiny_sdxl
from webui.contract import Job
from webui.engine.attention import fastest_attention, use_attention, xformers_works
from webui.engine.engine import PictureEngine, create_engine
from webui.events import Done, Event, Failed
from webui.events import Image as PictureEvent
from webui.library import Library
from webui.requests import build
from webui.settings import ROOT

SAMPLERS = ("Euler", "Euler a", "DPM++ 2M", "UniPC", "DDIM")
MOST_LEVELS = 6.0
"""Mean difference of a picture in half precision from the CPU's in fp32, in levels of 255, that is taken as equal."""
LEFT_FREE = 700 * 2**20
"""Bytes of the card that are left when memory is made short: enough for the networks' own work at 512 px, not for
decoding 1024 px at once."""

UNET_SD1: Mapping[str, Any] = {
    "sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "attention_head_dim": 8,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3, "norm_num_groups": 32,
}  # fmt: skip
UNET_XL: Mapping[str, Any] = {
    "sample_size": 128, "block_out_channels": (320, 640, 1280), "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "norm_num_groups": 32,
}  # fmt: skip
VAE: Mapping[str, Any] = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
"""Shapes of Stable Diffusion 1.5 and XL (Podell et al. 2023, arXiv:2307.01952) where they differ from the tiny ones'.
The text encoders stay tiny: they run once per picture."""

Figures = dict[str, Any]
SKIPPED = "needs a card"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Proof:
    """The machine that is looked at, and what was found so far."""

    def __init__(self, device: str, models: Path, work: Path, *, tiny: bool) -> None:
        self.device, self.models, self.work, self.tiny = torch.device(device), models, work, tiny
        self.found: dict[str, Figures] = {}

    @property
    def has_card(self) -> bool:
        return self.device.type == "cuda"

    def engine(self, models: Path) -> PictureEngine:
        return create_engine(models, str(self.device))

    def check(self, name: str, work: Callable[[], Figures]) -> None:
        """Run one check; what it raises is its result, and the others go on."""
        began = time.monotonic()
        try:
            figures = work()
        except Exception as error:  # a check that falls over must not hide the others
            figures = {"ok": False, "error": f"{type(error).__name__}: {error}"[:2000]}
        self.found[name] = {**figures, "seconds": round(time.monotonic() - began, 1)}
        told = SKIPPED if figures["ok"] is None else "ok" if figures["ok"] else "FAILED"
        say(f"{name}: {told} {json.dumps(self.found[name], default=str)}")

    def attention(self) -> Figures:
        """The kernel that timing chose; where xformers works, that a UNet which is given it really calls it."""
        chosen = fastest_attention(self.device)
        if not self.has_card:
            return {"ok": None, "chosen": chosen}
        works = xformers_works(self.device)
        return {"ok": not works or self._xformers_is_called(), "chosen": chosen, "xformers works": works}

    def _xformers_is_called(self) -> bool:
        import xformers.ops
        from diffusers import UNet2DConditionModel

        unet = UNet2DConditionModel.from_pretrained(Library(self.models / "checkpoints").default().path / "unet")
        unet = unet.to(self.device, torch.float16)
        use_attention(unet, "xformers")
        calls = 0
        real = xformers.ops.memory_efficient_attention

        def counted(*values: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            return real(*values, **named)

        xformers.ops.memory_efficient_attention = counted
        try:
            side, width = unet.config.sample_size, unet.config.cross_attention_dim
            noise = torch.randn(1, unet.config.in_channels, side, side, device=self.device, dtype=torch.float16)
            with torch.inference_mode():
                unet(noise, 500, torch.randn(1, 77, width, device=self.device, dtype=torch.float16))
        finally:
            xformers.ops.memory_efficient_attention = real
        return calls > 0

    def pictures(self) -> Figures:
        """The same seed gives the same picture as on the CPU in fp32, to within half precision, for each sampler."""
        ours, theirs = self.engine(self.models), create_engine(self.models, "cpu")
        apart = {}
        for sampler in SAMPLERS:
            drawn = [draw(engine, self.models, sampler=sampler, num_inference_steps=12) for engine in (ours, theirs)]
            apart[sampler] = round(difference(*drawn), 3)
        return {"ok": max(apart.values()) <= MOST_LEVELS, "mean difference in levels": apart}

    def batches(self) -> Figures:
        """A picture of a batch is that of its seed alone, to within what other matrix shapes change."""
        engine = self.engine(self.models)
        batch = pictures_of(run(engine, self.models, seed=5, batch_size=3))
        alone = [draw(engine, self.models, seed=5 + number) for number in range(3)]
        apart = max(difference(decoded(one), other) for one, other in zip(batch, alone, strict=True))
        return {"ok": apart <= MOST_LEVELS, "largest mean difference in levels": round(apart, 3)}

    def short_memory(self) -> Figures:
        """On a card that is really full a large picture is made otherwise or refused in words; then it works on."""
        if not self.has_card:
            return {"ok": None}
        models = self.sized("sd1")
        engine = self.engine(models)
        draw(engine, models, num_inference_steps=2, width=512, height=512)
        with full_card(self.device, LEFT_FREE):
            last = list(run(engine, models, num_inference_steps=2, width=1024, height=1024))[-1]
        again = draw(engine, models, num_inference_steps=2, width=512, height=512)
        receipt = [str(told) for told in last.receipt] if isinstance(last, Done) else []
        refused = isinstance(last, Failed) and last.error == "OutOfMemory"
        return {"ok": (isinstance(last, Done) or refused) and again is not None, "healed": receipt, "refused": refused}

    def speed(self, size: str, side: int) -> Figures:
        """Steps per second at the true size, beside the bare calls of the same UNet."""
        models = self.sized(size)
        engine = self.engine(models)
        side = 64 if self.tiny else side
        began = time.monotonic()
        draw(engine, models, num_inference_steps=2, width=side, height=side)
        loading = time.monotonic() - began
        steps = 4 if self.tiny else 30
        if self.has_card:
            torch.cuda.reset_peak_memory_stats(self.device)
        done = list(run(engine, models, num_inference_steps=steps, width=side, height=side))[-1]
        if not isinstance(done, Done):
            return {"ok": False, "event": str(done)}
        figures = {name: round(seconds, 4) for name, seconds in done.timings.items()}
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30 if self.has_card else None
        per_second = steps / done.timings["sampling"]
        return {
            "ok": True, "steps per second": round(per_second, 2), "timings": figures, "side": side, "peak GiB": peak,
            "first picture of two steps, loading included (s)": round(loading, 2),
            "receipt": [str(told) for told in done.receipt],
        }  # fmt: skip

    def sized(self, size: str) -> Path:
        """A models folder with one checkpoint of random weights; made once."""
        models = self.work / size
        folder = models / "checkpoints" / size
        if not folder.exists():
            build = build_tiny_sdxl if size == "xl" else build_tiny_checkpoint
            build(folder)
            if not self.tiny:
                self._grow(folder, UNET_XL if size == "xl" else UNET_SD1)
        return models

    def _grow(self, folder: Path, unet: Mapping[str, Any]) -> None:
        """Replace UNet and VAE by ones of the true size, made on the card and kept in half precision."""
        from diffusers import AutoencoderKL, UNet2DConditionModel

        told = json.loads((folder / "unet" / "config.json").read_text())
        kept = {name: told[name] for name in told if name.startswith(("cross_attention", "addition_", "projection_"))}
        with torch.device(self.device):
            networks = {"unet": UNet2DConditionModel(**{**kept, **unet}), "vae": AutoencoderKL(**VAE)}
        for name, network in networks.items():
            network.half().save_pretrained(folder / name, safe_serialization=True)
        torch.cuda.empty_cache()


def run(engine: PictureEngine, models: Path, **values: Any) -> Iterator[Event]:
    passport = Library(models / "checkpoints").default()
    usual = {"prompt": "a red apple", "seed": 7, "checkpoint": passport.name, "preview": "Linear"}
    request = build("txt2img", {**passport.defaults, **usual, **values})
    yield from engine.run(Job(id="proof", request=request), lambda: None)


def pictures_of(events: Iterator[Event]) -> list[PictureEvent]:
    """Raises `RuntimeError` with what the engine said when it failed."""
    seen = list(events)
    if isinstance(seen[-1], Failed):
        raise RuntimeError(str(seen[-1].text))
    return [event for event in seen if isinstance(event, PictureEvent)]


def draw(engine: PictureEngine, models: Path, **values: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return decoded(pictures_of(run(engine, models, **values))[0])


def decoded(event: PictureEvent) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.asarray(Image.open(io.BytesIO(event.png)).convert("RGB"), dtype=np.float32)


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Mean over all pixels, in levels of 255."""
    return float(np.abs(one - other).mean())


@contextmanager
def full_card(device: torch.device, left: int) -> Iterator[None]:
    """Take all of the card's memory but `left` bytes, by plain allocations."""
    torch.cuda.empty_cache()
    taken = []
    while (free := torch.cuda.mem_get_info(device)[0] - left) > 2**20:
        taken.append(torch.empty(min(free, 4 * 2**30), dtype=torch.uint8, device=device))
    try:
        yield
    finally:
        taken.clear()
        torch.cuda.empty_cache()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.gpu.prove")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--tiny", action="store_true", help="the speed checks at toy size: a rehearsal")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="easel-proof-") as work:
        proof = Proof(given.device, given.models, Path(work), tiny=given.tiny)
        proof.check("attention", proof.attention)
        proof.check("pictures equal the CPU's", proof.pictures)
        proof.check("pictures of a batch equal those alone", proof.batches)
        proof.check("speed at SD1.5's size", lambda: proof.speed("sd1", 512))
        proof.check("a full card", proof.short_memory)
        proof.check("speed at SDXL's size", lambda: proof.speed("xl", 1024))
    card = torch.cuda.get_device_name(proof.device) if proof.has_card else "CPU"
    told = {"device": card, "torch": torch.__version__, "checks": proof.found}
    (given.output / "proof.json").write_text(json.dumps(told, indent=1, default=str) + "\n", "utf-8")
    failed = [name for name, figures in proof.found.items() if figures["ok"] is False]
    say(f"{len(proof.found)} checks on {card}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
