"""Files of torch.save, the .ckpt, .pt and .bin of old: opened without running anything that stands in them.

Only tensors and plain containers are read (`weights_only`), and never in this process before a child with little
memory and time has read the whole file: what crashes, swells or hangs does so there.
"""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar  # under this name in files

from webui.errors import CheckpointError
from webui.sentences import Sentence
from webui.settings import ROOT

SECONDS = 120
MOST_SWELLING = 4
"""A file may unpack to this many times its size; torch does not compress at all."""
EXTRA_MEMORY = 2**30

_PREFLIGHT = "import sys; sys.path.insert(0, sys.argv[1]); from webui.engine.pickles import preflight; preflight()"


class _Callback:
    """Stands for pytorch_lightning's ModelCheckpoint, which the first Stable Diffusion files name and nobody needs."""


def _harmless() -> AbstractContextManager[None]:
    """Beside tensors and plain containers, what old model files name."""
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        torch.nn.ParameterDict,
        (_Callback, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.float32)),
    ]
    made: AbstractContextManager[None] = torch.serialization.safe_globals(allowed)
    return made


def read_pickle(path: Path) -> object:
    """What torch.save has put into the file, its tensors on the CPU. Raises `CheckpointError` in one sentence."""
    check_beginning(path)
    if zipfile.is_zipfile(path):
        _check_archive(path)
    _check_in_child(path)
    try:
        return _load(path)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            raise
        raise _refused(path) from error


def check_beginning(path: Path) -> None:
    """Raise `CheckpointError` for what is no model file at all, told by its first bytes."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"version https://git-lfs"):
        raise _disguised(path, Sentence("a Git-LFS pointer"))
    if start.lstrip()[:1] == b"<":
        raise _disguised(path, Sentence("an HTML page"))
    if not start.startswith((b"PK\x03\x04", b"\x80")):
        raise CheckpointError("{name} is no file that torch has written. Download it again.", name=path.name)


def _disguised(path: Path, found: Sentence) -> CheckpointError:
    return CheckpointError("{name} is {found}, not a model file. Download it again.", name=path.name, found=found)


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise _refused(path) from error
    if unpacked > MOST_SWELLING * path.stat().st_size:
        raise CheckpointError(
            "{name} is refused: it would unpack to {size} MB. Use a .safetensors file of the model.",
            name=path.name, size=f"{unpacked // 2**20:,}",
        )  # fmt: skip


def _load(path: Path) -> object:
    with _harmless():
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _check_in_child(path: Path) -> None:
    """Read the whole file in a child. Raises `CheckpointError` unless that ends well."""
    extra = EXTRA_MEMORY + MOST_SWELLING * path.stat().st_size
    command = [sys.executable, "-c", _PREFLIGHT, str(ROOT), str(path), str(extra)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=2 * SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _refused(path) from error
    if ended.returncode:
        raise _refused(path)


def preflight() -> None:
    """What the child does, its arguments those of the process: read a file, limited where the system can limit."""
    path, extra = Path(sys.argv[2]), int(sys.argv[3])
    if sys.platform == "linux":
        import resource  # not there on Windows

        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + extra, used + extra))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _load(path)


def _refused(path: Path) -> CheckpointError:
    return CheckpointError(
        "{name} is refused: it is damaged, or holds more than weights. Nothing in it was run; use a .safetensors file "
        "of the model.",
        name=path.name,
    )
