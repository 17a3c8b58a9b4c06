"""Examples in batches: pictures of one size together, latents and text encodings made once and kept on the disk.

Knows what a batch is made of; what is learnt from it is the trainers' business.
"""

import itertools
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from webui.training.cache import Rows, cached_rows, file_key, fingerprint, folder_key
from webui.training.data import Example, Size, buckets, frame, load_picture
from webui.training.networks import FirstStage, TextEncoders, TextStates

PIXELS_AT_ONCE = 2**19
"""How much is encoded together: two pictures of 512×512. More needs gigabytes and is no faster."""


@dataclass(frozen=True)
class Batch:
    """Examples of one size."""

    members: Sequence[int]
    """Their numbers."""
    latents: torch.Tensor
    """(n, channels, h, w), scaled, fp32, on the CPU."""
    size: Size
    """(width, height) of the pictures in pixels."""
    group: int
    """Number of the group they come from."""
    places: Sequence[int]
    """Their places in that group."""


@dataclass(frozen=True)
class Group:
    """Everything that goes to one size."""

    size: Size
    members: Sequence[int]
    latents: Rows


@dataclass(frozen=True)
class Batches:
    """All examples, grouped by size."""

    examples: Sequence[Example]
    groups: Sequence[Group]

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """`count` examples of one size; every example of the dataset comes equally often."""
        first = int(torch.randint(len(self.examples), (), generator=generator))
        ends = itertools.accumulate(len(group.members) for group in self.groups)
        number = next(number for number, end in enumerate(ends) if first < end)
        places = torch.randint(len(self.groups[number].members), (count,), generator=generator)
        return self.batch(number, places.tolist())

    def batch(self, number: int, places: Sequence[int]) -> Batch:
        """These places of group `number`."""
        group = self.groups[number]
        latents = torch.from_numpy(np.array(group.latents[list(places)], dtype=np.float32))
        return Batch([group.members[place] for place in places], latents, group.size, number, places)

    def shown(self, count: int) -> Batch:
        """Examples for sample pictures: from the whole of the largest group, fewer when there are not so many."""
        sizes = [len(group.members) for group in self.groups]
        largest = sizes.index(max(sizes))
        count = min(count, sizes[largest])
        return self.batch(largest, [number * sizes[largest] // count for number in range(count)])

    def pictures(self, batch: Batch) -> torch.Tensor:
        """(n, 3, height, width) in [-1, 1], read from the disk."""
        return torch.stack([load_picture(self.examples[member].path, *batch.size) for member in batch.members])

    def time_ids(self, batch: Batch) -> torch.Tensor:
        """(n, 6): original height and width, crop top and left, height and width, as SDXL was trained."""
        rows = []
        for member in batch.members:
            width, height = self.examples[member].size
            _, (left, top) = frame((width, height), batch.size)
            rows.append([height, width, top, left, batch.size[1], batch.size[0]])
        return torch.tensor(rows, dtype=torch.float32)


def prepare_batches(
    examples: Sequence[Example], pixels: int, multiple: int, first_stage: FirstStage, folder: Path, precision: str
) -> Generator[None, None, Batches]:
    """Encode what is not encoded yet; yields now and then. `pixels` is the side of a square of the wanted area.

    Kept in `folder` in fp16 unless `precision` is fp32. Sizes are multiples of `multiple`.
    """
    sizes = buckets([example.size for example in examples], pixels, multiple)
    groups = []
    for size in sorted(set(sizes)):
        members = [number for number, wanted in enumerate(sizes) if wanted == size]
        files = [file_key(examples[member].path) for member in members]
        key = fingerprint(files, size, folder_key(first_stage.folder), precision)

        def encode(places: Sequence[int], members: Sequence[int] = members, size: Size = size) -> Rows:
            pictures = torch.stack([load_picture(examples[members[place]].path, *size) for place in places])
            return to_rows(first_stage.encode(pictures), precision)

        at_once = max(1, PIXELS_AT_ONCE // (size[0] * size[1]))
        path = folder / f"latents-{size[0]}x{size[1]}.npy"
        latents = yield from _silently(cached_rows(path, key, len(members), encode, min(16, at_once)))
        groups.append(Group(size, members, latents))
    return Batches(examples, groups)


def to_rows(values: torch.Tensor, precision: str) -> Rows:
    """As it is kept on the disk."""
    rows: Rows = values.float().cpu().numpy()
    return rows if precision == "fp32" else rows.astype(np.float16)


def _silently(steps: Generator[int, None, Rows]) -> Generator[None, None, Rows]:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            rows: Rows = stop.value
            return rows
        yield


@dataclass(frozen=True)
class Encodings:
    """The hidden states of every text that occurs."""

    rows: Rows
    """(texts, tokens · features + pooled features)."""
    numbers: Mapping[str, int]
    tokens: int
    features: int

    def states(self, texts: Sequence[str]) -> TextStates:
        """fp32, on the CPU, one row per text."""
        chosen = np.array(self.rows[[self.numbers[text] for text in texts]], dtype=np.float32)
        hidden, pooled = np.split(chosen, [self.tokens * self.features], axis=1)
        return TextStates(
            torch.from_numpy(hidden).view(len(texts), self.tokens, self.features),
            torch.from_numpy(pooled) if pooled.shape[1] else None,
        )


def prepare_encodings(
    texts: Sequence[str], encoders: TextEncoders, folder: Path, precision: str
) -> Generator[None, None, Encodings]:
    """Encode every different text once; yields now and then."""
    different = sorted(set(texts))
    parts = [folder_key(path) for path in sorted(encoders.path.glob("text_encoder*"))]
    parts += [folder_key(path) for path in sorted(encoders.path.glob("tokenizer*"))]
    key = fingerprint(different, parts, precision)

    def encode(numbers: Sequence[int]) -> Rows:
        states = encoders.encode_frozen([different[number] for number in numbers])
        flat = [states.hidden.flatten(1)] if states.pooled is None else [states.hidden.flatten(1), states.pooled]
        return to_rows(torch.cat(flat, dim=1), precision)

    rows = yield from _silently(cached_rows(folder / "texts.npy", key, len(different), encode, 16))
    numbers = {text: number for number, text in enumerate(different)}
    return Encodings(rows, numbers, encoders.towers[0].length, encoders.features)
