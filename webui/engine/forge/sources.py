"""Models as flat tables of tensors, read one by one: single files and folders of diffusers alike.

A key of a folder is its part and the tensor's own key, as "unet/conv_in.weight"; a file has no parts.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from webui.engine.pickles import read_pickle
from webui.errors import CheckpointError
from webui.library import SAFETENSORS, check_safetensors
from webui.library.weighing import VARIANT

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
"""Names of safetensors -> types of torch."""


@dataclass(frozen=True)
class Spec:
    """A tensor that is not read yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count * self.dtype.itemsize


@dataclass(frozen=True)
class Source:
    """An open model."""

    name: str
    """For people."""
    path: Path
    specs: Mapping[str, Spec]
    metadata: Mapping[str, str]
    read: Callable[[str], torch.Tensor]
    left: tuple[str, ...] = ()
    """Names of what stands beside the weights of a pickle and is none."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Of a folder: part -> the file that its tensors stand in. Empty for a single file."""

    @property
    def is_folder(self) -> bool:
        return bool(self.files)


@contextmanager
def opened(path: Path, name: str) -> Iterator[Source]:
    """The model, for as long as the block lasts. Raises `CheckpointError` for what is damaged or hostile."""
    with ExitStack() as stack:
        try:
            if path.is_dir():
                yield _folder(path, name, stack)
            elif path.suffix in SAFETENSORS:
                yield _safetensors(path, name, stack)
            else:
                yield _pickle(path, name)
        except SafetensorError as error:
            raise CheckpointError(
                "{name} cannot be read ({reason}). Copy it again.", name=path.name, reason=str(error)[:200]
            ) from error


def _safetensors(path: Path, name: str, stack: ExitStack) -> Source:
    check_safetensors(path)
    file = stack.enter_context(safe_open(path, framework="pt"))
    return Source(name, path, _specs(file, ""), file.metadata() or {}, file.get_tensor)


def _folder(path: Path, name: str, stack: ExitStack) -> Source:
    """Everything with weights in it; sharded parts and variants in another precision are left to be copied."""
    specs: dict[str, Spec] = {}
    files: dict[str, Path] = {}
    opened_files = {}
    for file in sorted(path.glob("*.safetensors")) + sorted(path.glob("*/*.safetensors")):
        part = "" if file.parent == path else file.parent.name
        if VARIANT.search(file.name):
            continue
        if part in files:
            raise CheckpointError(
                "{part}/ of {name} is in several files, which is not read here. Save it as one file first.",
                part=part, name=name,
            )  # fmt: skip
        check_safetensors(file)
        files[part] = file
        opened_files[part] = stack.enter_context(safe_open(file, framework="pt"))
        specs |= _specs(opened_files[part], f"{part}/")

    def read(key: str) -> torch.Tensor:
        part, _, own = key.partition("/")
        tensor: torch.Tensor = opened_files[part].get_tensor(own)
        return tensor

    return Source(name, path, specs, {}, read, files=files)


def _specs(file: Any, prefix: str) -> dict[str, Spec]:  # safetensors is not typed
    slices = ((key, file.get_slice(key)) for key in file.keys())  # noqa: SIM118 (no mapping)
    return {f"{prefix}{key}": Spec(tuple(part.get_shape()), DTYPES[part.get_dtype()]) for key, part in slices}


def _pickle(path: Path, name: str) -> Source:
    """Through the preflight of `pickles`; its tensors stay on the disk until they are read."""
    content = read_pickle(path)
    if isinstance(content, dict):
        content = next((content[key] for key in STATES if isinstance(content.get(key), dict)), content)
    values = dict(_values(content)) if isinstance(content, dict) else {}
    tensors = {key: value for key, value in values.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError("{name} holds no weights. Download it again.", name=path.name)
    specs = {key: Spec(tuple(tensor.shape), tensor.dtype) for key, tensor in tensors.items()}
    return Source(name, path, specs, {}, tensors.__getitem__, tuple(key for key in values if key not in tensors))


STATES = ("state_dict", "params_ema", "params", "model_state_dict")
"""Under one of these the weights stand where training left other things beside them."""


def _values(content: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if key == "string_to_param" and isinstance(value, Mapping):  # of embeddings: {"*": vectors}
            yield from (("emb_params", vectors) for vectors in value.values())
        else:
            yield str(key), value
