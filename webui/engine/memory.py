"""Running out of memory: recognised in all its forms and told to the person as one error."""

import gc

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


def release() -> None:
    """Give memory that nothing uses any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
