"""What the tests of the trainers share: datasets of coloured discs, workspaces, and runs that stop where asked."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}


def discs(folder: Path, count: int = 4, size: tuple[int, int] = (64, 64), *, in_classes: bool = False) -> Path:
    """Captioned pictures with a disc each, and its box in metadata.jsonl; `in_classes` puts colours into folders."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        colour = list(COLOURS)[number % len(COLOURS)]
        home = folder / colour if in_classes else folder
        home.mkdir(exist_ok=True)
        picture, left = Image.new("RGB", size, "white"), 4 + 4 * (number % 3)
        ImageDraw.Draw(picture).ellipse((left, 10, left + 40, 50), fill=COLOURS[colour])
        path = home / f"disc{number}.png"
        picture.save(path)
        corners = [left / size[0], 10 / size[1], (left + 40) / size[0], 50 / size[1]]
        line: dict[str, Any] = {
            "file_name": path.relative_to(folder).as_posix(),
            "text": f"a {colour} disc",
            "boxes": [{"label": f"{colour} disc", "box": corners}],
        }
        lines.append(json.dumps(line))
    (folder / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


def workspace(root: Path, checkpoint: Path | None, run: str = "run", **others: Any) -> Any:
    """A workspace over `root`/dataset with results below `root`/models."""
    from webui.training.session import Workspace

    return Workspace(
        dataset=root / "dataset", run=root / run, models=root / "models", device="cpu", checkpoint=checkpoint, **others
    )


def updates(request: Any, space: Any) -> list[Any]:
    """Everything a training says, to its end."""
    from webui.training.session import train

    return list(train(request, space))


def losses(told: list[Any]) -> dict[int, float]:
    return {update.step: update.loss for update in told if update.loss is not None}


def until(request: Any, space: Any, step: int) -> list[Any]:
    """Everything a training says until it has done `step` steps; then it is closed, as by a pause."""
    from webui.training.session import train

    told, running = [], train(request, space)
    for update in running:
        told.append(update)
        if update.step == step and update.loss is not None:
            break
    running.close()  # type: ignore[attr-defined]  # it is a generator
    return told


def every_file(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def finish(steps: Any) -> Any:
    """What a preparing generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def learn(trainer: Any, loss_of: Callable[[Any], Any]) -> tuple[float, float]:
    """Train to the end on one batch with one noise, so that it must get easier; its loss before and after."""
    import torch

    def fixed(_: Any) -> Any:
        return loss_of(torch.Generator().manual_seed(7))

    with torch.no_grad():
        before = float(fixed(None))
    for _ in trainer.run(fixed):
        pass
    with torch.no_grad():
        return before, float(fixed(None))


def predictions(networks: Any, hidden: Any = None, pooled: Any = None) -> Any:
    """What a UNet says to one noisy latent at timestep 500 under the given words, or random ones."""
    import torch

    from webui.training.conditioning import Condition, Denoiser

    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    hidden = torch.randn(1, 77, networks.texts.features, generator=generator) if hidden is None else hidden
    if networks.is_xl and pooled is None:
        pooled = torch.randn(1, 24, generator=generator)
    sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]]) if networks.is_xl else None
    with torch.no_grad():
        return Denoiser(networks.unet)(latents, torch.tensor([500]), Condition(hidden, pooled, sizes))
