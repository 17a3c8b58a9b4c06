"""Files of torch.save, the .ckpt, .pt and .bin of old: opened without running anything that stands in them.

Only tensors and plain containers are read (`weights_only`), and never in this process before a child with little
memory and time has read the whole file: what crashes, swells or hangs does so there.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import torch

from webui.errors import CheckpointError

SECONDS = 120
MOST_SWELLING = 4
"""A file may unpack to this many times its size; torch does not compress at all."""
EXTRA_MEMORY = 2**30

_PREFLIGHT = """
import sys
import torch
path, extra, seconds, mapped = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"
if sys.platform.startswith("linux"):
    import resource
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, used + extra))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with torch.serialization.safe_globals([torch.nn.ParameterDict]):
    torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
"""


def read_pickle(path: Path) -> object:
    """What torch.save has put into the file, its tensors on the CPU. Raises `CheckpointError` in one sentence."""
    check_beginning(path)
    is_archive = zipfile.is_zipfile(path)
    if is_archive:
        _check_archive(path)
    _preflight(path, is_archive)
    try:
        with torch.serialization.safe_globals([torch.nn.ParameterDict]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            raise
        raise _refused(path) from error


def check_beginning(path: Path) -> None:
    """Raise `CheckpointError` for what is no model file at all, told by its first bytes."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError("{name} is a Git-LFS pointer, not a model file. Download it again.", name=path.name)
    if start.lstrip()[:1] == b"<":
        raise CheckpointError("{name} is an HTML page, not a model file. Download it again.", name=path.name)
    if not start.startswith((b"PK\x03\x04", b"\x80")):
        raise CheckpointError("{name} is no file that torch has written. Download it again.", name=path.name)


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


def _preflight(path: Path, is_archive: bool) -> None:
    """Read the whole file in a child. Raises `CheckpointError` unless that ends well."""
    extra = EXTRA_MEMORY + MOST_SWELLING * path.stat().st_size
    command = [sys.executable, "-c", _PREFLIGHT, str(path), str(extra), str(SECONDS), "1" if is_archive else "0"]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=2 * SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _refused(path) from error
    if ended.returncode:
        raise _refused(path)


def _refused(path: Path) -> CheckpointError:
    return CheckpointError(
        "{name} is refused: it is damaged, or holds more than weights. Nothing in it was run; use a .safetensors file "
        "of the model.",
        name=path.name,
    )
