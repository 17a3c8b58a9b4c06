"""What the engine's tests share: short requests, runs with signals, and a denoiser whose answer is known exactly."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from webui.contract import Engine, Job, Signal
from webui.events import Event, Image, Progress
from webui.registry import SAMPLERS
from webui.requests import TextToImage

ALL_SAMPLERS = SAMPLERS


def new_engine(models_dir: Path) -> Any:
    """An engine on the CPU, with one thread so that tests do not fight for cores."""
    from webui.engine.engine import create_engine

    made = create_engine(models_dir, "cpu")
    torch.set_num_threads(1)
    return made


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
