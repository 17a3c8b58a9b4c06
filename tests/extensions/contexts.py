"""What the tests of shipped extensions share: an engine context as the engine makes it."""

from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from webui.extension import EngineContext, Sentence, Step


def engine_context(
    *,
    request: Any,
    models_dir: Path,
    cache: MutableMapping[str, Any],
    warn: Callable[[Sentence], None],
    note: Callable[[Sentence], None] = lambda told: None,
    inputs: dict[str, bytes] | None = None,
) -> EngineContext:
    """Of a job on the CPU in fp32."""
    import torch

    from webui.engine.extensions import EngineExtensions, read_weights
    from webui.library import Library

    shelves = EngineExtensions(None, models_dir, Library(models_dir / "checkpoints"))
    return EngineContext(
        request=request,
        models_dir=models_dir,
        models=shelves._models,
        folder=models_dir,
        inputs=inputs or {},
        device=torch.device("cpu"),
        dtype=torch.float32,
        read_weights=read_weights,
        cache=cache,
        warn=warn,
        note=note,
    )


def read_lora(path: Path) -> Any:
    """A LoRA file, read as a job reads it."""
    from extensions.lora.files import sorted_by_layer
    from webui.engine.extensions import read_weights

    return sorted_by_layer(path, read_weights(path))


def a_step(index: int, total: int, phase: str = "sampling") -> Step:
    window = (0.0, 0.0, 1.0, 1.0)
    return Step(index=index, total=total, phase=phase, pictures=(0,), sigma=1.0, size=(8, 8), window=window)
