"""Textual inversion (Gal et al. 2022, arXiv:2208.01618): words with vectors of their own, from models/embeddings.

Owns finding and reading them in all formats; where their vectors stand in a prompt is known to `text`.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from webui.engine.pickles import read_pickle
from webui.errors import CheckpointError
from webui.library import SAFETENSORS, check_safetensors
from webui.prompt.chunks import CHUNK
from webui.sentences import Sentence

SUFFIXES = (*SAFETENSORS, ".pt", ".bin")
LARGEST = 64 * 2**20
"""Bytes; the largest real ones have less than one."""
OF_XL = ("clip_l", "clip_g")


@dataclass(frozen=True, eq=False)
class Embedding:
    """One file. Equal only to itself: a file that has changed is read into another one."""

    name: str
    """The file's stem, by which prompts name it."""
    path: Path
    tensors: Mapping[str, torch.Tensor]
    """(vectors, features) by `Tower.key`; none where the file is unreadable."""
    problem: Sentence | None = None

    @property
    def vectors(self) -> int:
        """How many words it is long."""
        return min((len(tensor) for tensor in self.tensors.values()), default=0)

    def misfit(self, widths: Mapping[str, int]) -> Sentence | None:
        """Why it cannot be used with text encoders of these widths; None when it can."""
        if self.problem is not None:
            return self.problem
        mine = {key: tensor.shape[1] for key, tensor in self.tensors.items()}
        if all(mine.get(key) == width for key, width in widths.items()):
            return None
        return Sentence(
            "its vectors have {found} features and this checkpoint's have {expected}.",
            found=_listed(mine.values()), expected=_listed(widths.values()),
        )  # fmt: skip

    @cached_property
    def hash(self) -> str:
        """First 12 hex digits of the file's SHA-256, as AUTOMATIC1111 writes them."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]


class EmbeddingShelf:
    """The embeddings below a folder. Only those that a prompt may name are ever read, and again when they change."""

    def __init__(self, folder: Path, others: Callable[[], Iterable[Path]] = tuple) -> None:
        """`others`: files elsewhere, in the model folders of other tools."""
        self._folder = folder
        self._others = others
        self._read: dict[tuple[Path, int, int], Embedding] = {}

    def named_in(self, texts: Iterable[str]) -> dict[str, Embedding]:
        """The embeddings whose names occur in the texts, small and capital letters being the same."""
        said = "\n".join(texts).lower()
        files = [path for path in self._files() if path.stem.lower() in said and path.is_file()]
        return {path.stem: self._embedding(path) for path in reversed(files)}

    def _files(self) -> list[Path]:
        """Where two are called the same, the first one counts: those of the folder before others."""
        mine = sorted(path for path in self._folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        return [*mine, *(path for path in self._others() if path.suffix.lower() in SUFFIXES)]

    def _embedding(self, path: Path) -> Embedding:
        status = path.stat()
        key = path, status.st_size, status.st_mtime_ns
        if key not in self._read:
            self._read = {old: value for old, value in self._read.items() if old[0] != path}
            self._read[key] = read_embedding(path)
        return self._read[key]


def read_embedding(path: Path) -> Embedding:
    """The file in whichever format; one that cannot be used tells why in `problem`."""
    try:
        if path.stat().st_size > LARGEST:
            raise CheckpointError("{name} is too large for an embedding.", name=path.name)
        tensors = {key: tensor.detach().float() for key, tensor in _vectors(_content(path)).items()}
        _check(path.name, tensors)
        return Embedding(path.stem, path, tensors)
    except CheckpointError as error:
        return Embedding(path.stem, path, {}, error.sentence)
    except (OSError, SafetensorError) as error:
        return Embedding(path.stem, path, {}, Sentence("it cannot be read ({reason}).", reason=str(error)[:200]))


def _content(path: Path) -> object:
    if path.suffix.lower() not in SAFETENSORS:
        return read_pickle(path)
    check_safetensors(path)
    return load_file(path)


def _vectors(content: object) -> dict[str, torch.Tensor]:
    """By tower: SDXL's pair, else what stands under "*" (AUTOMATIC1111), "emb_params", or alone (diffusers)."""
    if not isinstance(content, Mapping):
        return {}
    if any(key in content for key in OF_XL):
        return {key: _rows(content[key]) for key in OF_XL if isinstance(content.get(key), torch.Tensor)}
    parameters = content.get("string_to_param", content)
    parameters = getattr(parameters, "_parameters", parameters)  # a ParameterDict, as old versions of torch saved it
    if not isinstance(parameters, Mapping):
        return {}
    tensors = [value for value in parameters.values() if isinstance(value, torch.Tensor)]
    return {"": _rows(tensors[0])} if len(tensors) == 1 else {}


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.unsqueeze(0) if tensor.dim() == 1 else tensor


def _check(name: str, tensors: Mapping[str, torch.Tensor]) -> None:
    if not tensors or any(tensor.dim() != 2 for tensor in tensors.values()):
        raise CheckpointError("{name} is in no format of embeddings that Easel knows.", name=name)
    if len({len(tensor) for tensor in tensors.values()}) != 1:
        raise CheckpointError("{name} has different numbers of vectors for the two text encoders.", name=name)
    vectors = len(next(iter(tensors.values())))
    if not 1 <= vectors <= CHUNK:
        raise CheckpointError(
            "{name} has {vectors} vectors; a text encoder reads 1 to {most}.", name=name, vectors=vectors, most=CHUNK
        )
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise CheckpointError("{name} holds values that are not numbers. Download it again.", name=name)


def _listed(widths: Iterable[int]) -> str:
    return " + ".join(str(width) for width in widths)
