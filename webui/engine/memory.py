"""Memory: how much is left, and running out of it, recognised in all its forms and told to the person as one error."""

import gc
import sys
from pathlib import Path

import psutil
import torch

from webui.errors import OutOfMemory


def is_out_of_memory(error: BaseException) -> bool:
    """True for CUDA's own error and for the plain RuntimeError that torch's CPU allocator raises."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def out_of_memory(error: BaseException, size: tuple[int, int]) -> OutOfMemory | None:
    """The error to show for a picture of `size` (width, height), or None when `error` is something else."""
    if not is_out_of_memory(error):
        return None
    release()
    return OutOfMemory(size)


def available(device: torch.device | None = None) -> int:
    """Bytes that can still be taken: of the card, or of the machine as far as this process may use it."""
    if device is not None and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return min(int(psutil.virtual_memory().available), _left_in_container())


def of_card(device: torch.device) -> tuple[int, int] | None:
    """Free and total bytes of a card; None for the processor, which has the machine's own."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return int(free), int(total)


def whole(device: torch.device) -> int:
    """Bytes of a card that this process can have: what is free and what it holds already; 0 of anything but a card."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device))


def _left_in_container(control: Path = Path("/sys/fs/cgroup")) -> int:
    """What a container's limit leaves, where there is one; a very large number where there is none."""
    try:
        limit, used = ((control / f"memory.{name}").read_text("ascii").strip() for name in ("max", "current"))
        return max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return sys.maxsize


def release() -> None:
    """Give memory that nothing uses any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
