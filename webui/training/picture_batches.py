"""Endless batches of pictures straight from the disk, for what learns on pixels: each batch of one size.

Which pictures a batch holds is a function of the seed and its number alone, so a run that goes on sees what it would
have seen; that also lets the next batch be read while the current one is learnt.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch

from webui.training.data import Example, Size, buckets, load_picture

READERS = 4
"""Threads that decode: Pillow does it outside the interpreter lock."""


class PictureBatches:
    """Batches by number, from 0 on. In every epoch each picture comes once, apart from what fills the last batches."""

    def __init__(self, examples: Sequence[Example], side: int, multiple: int, batch_size: int, seed: int) -> None:
        self.examples = examples
        self.sizes = buckets([example.size for example in examples], side, multiple)
        self._batch_size = batch_size
        self._seed = seed
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="pictures")
        self._ahead: dict[int, list[Future[torch.Tensor]]] = {}
        self._last = -1
        self._planned, self._plan = -1, list[list[int]]()
        self._groups: dict[Size, list[int]] = {}
        for member, size in enumerate(self.sizes):
            self._groups.setdefault(size, []).append(member)

    def __enter__(self) -> "PictureBatches":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._readers.shutdown(cancel_futures=True)

    @property
    def epoch(self) -> int:
        """Batches in which every picture comes once."""
        return sum(-(-len(members) // self._batch_size) for members in self._groups.values())

    def members(self, number: int) -> list[int]:
        """Numbers of the examples in batch `number`, all of one size."""
        epoch, place = divmod(number, self.epoch)
        if epoch != self._planned:
            self._planned, self._plan = epoch, self._shuffled(epoch)
        return self._plan[place]

    @property
    def smallest(self) -> int:
        """The shortest side of all training sizes, pixels."""
        return min(min(size) for size in self._groups)

    def __getitem__(self, number: int) -> torch.Tensor:
        """(batch size, 3, h, w) in [-1, 1], half of them mirrored. Raises `UnusablePicture`."""
        pictures = torch.stack([future.result() for future in self._ahead.pop(number, None) or self._read(number)])
        step = number - self._last if 0 <= self._last < number else 1  # several processes share the numbers
        self._last = number
        self._ahead = {number + step: self._read(number + step)}
        mirrored = np.random.default_rng((self._seed, number)).random(len(pictures)) < 0.5
        return torch.where(torch.from_numpy(mirrored).view(-1, 1, 1, 1), pictures.flip(3), pictures)

    def _read(self, number: int) -> list[Future[torch.Tensor]]:
        return [
            self._readers.submit(load_picture, self.examples[member].path, *self.sizes[member])
            for member in self.members(number)
        ]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng((self._seed, epoch, 1))
        batches: list[list[int]] = []
        for members in self._groups.values():
            order = random.permutation(members).tolist()
            for begin in range(0, len(order), self._batch_size):
                wanted = range(begin, begin + self._batch_size)
                batches.append([order[place % len(order)] for place in wanted])  # the last one begins anew
        return [batches[place] for place in random.permutation(len(batches))]


def in_batches(examples: Iterable[Example], sizes: Sequence[Size], batch_size: int) -> list[torch.Tensor]:
    """All of the pictures in their order, neighbours of one size together, (n, 3, h, w) in [-1, 1]."""
    batches: list[list[torch.Tensor]] = []
    for example, size in zip(examples, sizes, strict=True):
        picture = load_picture(example.path, *size)
        if batches and len(batches[-1]) < batch_size and batches[-1][0].shape == picture.shape:
            batches[-1].append(picture)
        else:
            batches.append([picture])
    return [torch.stack(batch) for batch in batches]
