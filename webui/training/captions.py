"""Captions as conditions: what a UNet is given of the words of an example, of a prompt, and of no words at all."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from webui.library import read_json
from webui.sentences import Sentence
from webui.training.batches import Batch, Batches, Encodings, prepare_encodings
from webui.training.conditioning import Condition
from webui.training.data import Size
from webui.training.networks import TextEncoders, TextStates


@dataclass(frozen=True, kw_only=True)
class Captions:
    """The words of every example, for the UNet of a checkpoint."""

    encoders: TextEncoders
    encodings: Encodings | None
    """Made beforehand; None while the text encoder itself learns."""
    batches: Batches
    texts: Sequence[str]
    """One per example."""
    null_is_zero: bool = False
    """SDXL knows no words as zeros, all others as the empty prompt."""

    def condition(self, batch: Batch) -> Condition:
        """Of the examples of a batch, with gradients where the text encoder learns."""
        states = self._states([self.texts[member] for member in batch.members])
        time_ids = self.batches.time_ids(batch) if self.encoders.is_xl else None
        return Condition(states.hidden, states.pooled, time_ids)

    def of(self, prompts: Sequence[str], size: Size) -> Condition:
        """Of prompts for pictures of `size` (width, height)."""
        states = self._states(prompts)
        return Condition(states.hidden, states.pooled, _whole(len(prompts), size) if self.encoders.is_xl else None)

    def null(self, count: int, size: Size) -> Condition:
        """Of no words: what guidance leads away from."""
        nothing = self.of([""] * count, size)
        if not self.null_is_zero or nothing.pooled is None:
            return nothing
        return Condition(torch.zeros_like(nothing.context), torch.zeros_like(nothing.pooled), nothing.time_ids)

    def _states(self, texts: Sequence[str]) -> TextStates:
        return self.encoders.encode(texts) if self.encodings is None else self.encodings.states(texts)


def _whole(count: int, size: Size) -> torch.Tensor:
    """SDXL's sizes for a picture that was never larger and is not cut."""
    width, height = size
    return torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32).expand(count, -1)


def prepare_captions(
    texts: Sequence[str], others: Sequence[str], encoders: TextEncoders, batches: Batches, folder: Path, precision: str
) -> Generator[None, None, Captions]:
    """Encode the texts of all examples and `others` once, then put the encoders aside; yields now and then."""
    encodings = yield from prepare_encodings([*texts, *others, ""], encoders, folder, precision)
    for tower in encoders.towers:
        tower.encoder.to("cpu")  # not needed any more, and a card has better use for the memory
    return Captions(
        encoders=encoders,
        encodings=encodings,
        batches=batches,
        texts=texts,
        null_is_zero=null_is_zero(encoders.path),
    )


def cut_off(texts: Sequence[str], encoders: TextEncoders) -> Sentence | None:
    """A warning when captions have more tokens than the text encoder takes."""
    tower = encoders.towers[0]
    lengths = [len(ids) for ids in tower.tokenizer(list(texts), verbose=False).input_ids]
    if not (longer := sum(length > tower.length for length in lengths)):
        return None
    return Sentence(
        "{count} of the captions have more than {room} tokens. What is beyond them is not learnt.",
        count=longer,
        room=tower.length - 2,
    )


def null_is_zero(checkpoint: Path) -> bool:
    """What a checkpoint's model_index.json says of empty prompts."""
    return bool(read_json(checkpoint / "model_index.json").get("force_zeros_for_empty_prompt", False))
