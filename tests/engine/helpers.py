"""What the engine's tests share: short requests, runs with signals, and a denoiser whose answer is known exactly."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture

from webui.contract import Engine, Job, Signal
from webui.engine.device import Device
from webui.engine.embeddings import EmbeddingShelf
from webui.engine.engine import PictureEngine
from webui.engine.upscaling import Upscalers
from webui.events import Event, Failed, Image, Progress
from webui.library import Library, Passport
from webui.registry import SAMPLERS
from webui.requests import TextToImage

ALL_SAMPLERS = SAMPLERS


def new_engine(models_dir: Path) -> Any:
    """An engine on the CPU, with one thread so that tests do not fight for cores."""
    from webui.engine.engine import create_engine

    made = create_engine(models_dir, "cpu")
    torch.set_num_threads(1)
    return made


class OneCheckpoint(Library):
    """A library of one, whatever its headers say."""

    def __init__(self, passport: Passport) -> None:
        self._passport = passport

    def refresh(self) -> None:
        pass

    def find(self, name: str, preferred: str = "", *, to_train: bool = False) -> Passport:
        return self._passport


def passport_of(path: Path, **values: Any) -> Passport:
    """Of a checkpoint in a folder or file of 64 px."""
    layout = "folder" if path.is_dir() else "file"
    usual: dict[str, Any] = {"name": path.name, "title": path.name, "family": "", "prediction_type": ""}
    return Passport(path=path, layout=layout, native_size=64, **(usual | values))


CPU = Device(torch_device=torch.device("cpu"), name="CPU", dtype=torch.float32)


def upscalers_in(folder: Path, device: Device = CPU) -> Upscalers:
    """Those whose files lie there."""
    return Upscalers(lambda: {path.stem: path for path in sorted(folder.glob("*.*"))}, device)


def engine_of(path: Path, embeddings: Path | None = None, **values: Any) -> PictureEngine:
    """An engine that knows nothing but the checkpoint at `path`."""
    torch.set_num_threads(1)
    shelf = EmbeddingShelf(embeddings) if embeddings else None
    upscalers = upscalers_in(path.parent / "upscalers")
    return PictureEngine(OneCheckpoint(passport_of(path, **values)), CPU, "SDPA", shelf, upscalers=upscalers)


def picture_of(engine: Engine, wanted: TextToImage) -> np.ndarray:
    """The first picture of a job as levels of 8 bits."""
    events = run(engine, wanted)
    assert not isinstance(events[-1], Failed), events[-1]
    return np.asarray(Picture.open(io.BytesIO(pictures(events)[0]))).astype(int)


def request(**values: Any) -> TextToImage:
    """A 64×64 picture of the tiny epsilon checkpoint in four steps, unless `values` say otherwise."""
    usual: dict[str, Any] = {
        "prompt": "the red cat", "checkpoint": "epsilon", "width": 64, "height": 64, "num_inference_steps": 4,
        "seed": 11, "guidance_scale": 3.0, "preview": "Off",
    }  # fmt: skip
    return TextToImage(**(usual | values))


def run(
    engine: Engine, wanted: TextToImage, *, state: bytes | None = None, signals: "Signals | None" = None
) -> list[Event]:
    """All events of a job."""
    signals = signals or Signals({})
    events = []
    for event in engine.run(Job(id="job", request=wanted, state=state), signals):
        signals.see(event)
        events.append(event)
    return events


class Signals:
    """Sends a signal once `picture` has done `step` steps."""

    def __init__(self, at: Mapping[tuple[int, int], Signal]) -> None:
        self._at = at
        self._waiting: Signal | None = None

    def see(self, event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "sampling":
            self._waiting = self._at.get((event.picture, event.step), self._waiting)

    def __call__(self) -> Signal | None:
        signal = self._waiting
        if signal is Signal.SKIP:
            self._waiting = None
        return signal


def pictures(events: list[Event]) -> dict[int, bytes]:
    return {event.picture: event.png for event in events if isinstance(event, Image)}


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def gaussian_mixture(dtype: torch.dtype = torch.float64) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """The exact denoiser of data drawn from three Gaussians: E[x0 | x] by Bayes' rule."""
    means = torch.tensor([-1.5, 0.2, 1.0], dtype=dtype)
    weights = torch.tensor([0.3, 0.5, 0.2], dtype=dtype)
    spread = 0.3**2

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        variance = spread + sigma**2
        distance = (x.unsqueeze(-1) - means) ** 2 / (2 * variance)
        posterior = torch.softmax(weights.log() - distance, dim=-1)
        centre = (spread * x.unsqueeze(-1) + sigma**2 * means) / variance
        return (posterior * centre).sum(-1)

    return denoise
