"""A job put aside: what `events.Checkpoint` carries, as bytes that are safe to read back.

Written by torch.save, read with weights_only=True: nothing but tensors, numbers, names and lists comes out of it.
"""

import io
import pickle
from dataclasses import dataclass

import torch

from webui.engine.denoise import SamplerState

VERSION = 1


class UnreadableState(ValueError):
    """The bytes are not a saved job of this version."""


@dataclass(frozen=True)
class SavedJob:
    """How far a job is. Pictures before the first of `pictures` are finished or given up."""

    pictures: tuple[int, ...]
    """The pictures in the making, 0-based over all batches; just the next one when none has begun."""
    sampler: SamplerState | None = None
    """None: none has begun."""
    number: int = 0
    """The pass that `sampler` belongs to, in the job's row."""


def dump(job: SavedJob) -> bytes:
    values: dict[str, object] = {"version": VERSION, "pictures": list(job.pictures), "pass": job.number}
    if job.sampler is not None:
        state = job.sampler
        values |= {
            "x": state.x.cpu(),
            "index": state.index,
            "noise": list(state.noise),
            "history": {name: tensor.cpu() for name, tensor in state.history.items()},
            "is_full_precision": state.is_full_precision,
        }
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()


def load(blob: bytes, device: torch.device) -> SavedJob:
    """The inverse of `dump`, tensors on `device`. Raises `UnreadableState`."""
    try:
        values = torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
        if values["version"] != VERSION:
            raise UnreadableState(f"version {values['version']} of a saved job is not known")
        pictures = tuple(int(picture) for picture in values["pictures"])
        if "x" not in values:
            return SavedJob(pictures)
        history = {str(name): tensor.to(device) for name, tensor in values["history"].items()}
        sampler = SamplerState(
            values["x"].to(device),
            int(values["index"]),
            tuple(values["noise"]),
            history,
            is_full_precision=bool(values["is_full_precision"]),
        )
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableState(str(error)) from error
    return SavedJob(pictures, sampler, int(values.get("pass", 0)))
