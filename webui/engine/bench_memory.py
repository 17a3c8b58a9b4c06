"""`launch.py bench engine`, memory: what switching models costs, what a picture takes at its peak, what stays behind.

The prediction that a page shows before the click (`jobs/memory.py`) is not looked at here, only measured peaks.
"""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from webui.contract import Job
from webui.engine.attention import fastest_attention
from webui.engine.device import Device, pick_device
from webui.engine.loading import load_checkpoint
from webui.engine.models import ModelCache
from webui.events import Failed
from webui.library import Library, Passport
from webui.requests import build

SWITCHES = 30
SETTLED = 5
"""Switches after which allocators have what they keep."""
ROUNDS = 3
SIDE = 512
"""Of the picture whose peak is measured, in pixels: large enough that activations outweigh the noise."""
MB = 2**20


def measure_memory(models_dir: Path, device: str) -> Mapping[str, float]:
    """Numbers by name, of all checkpoints of the folder that draw."""
    library = Library(models_dir / "checkpoints")
    passports = [passport for passport in library.passports().values() if passport.problem is None]
    chosen = pick_device(device)
    attention = fastest_attention(chosen.torch_device)
    cache = ModelCache(lambda passport: load_checkpoint(passport, chosen, attention), available=lambda: 0)
    switched, read = _switches(cache, passports)
    peak, weights = measure_peak(models_dir, library.default(), device)
    return {
        "model switch (s)": switched,
        "model switch / bare read of its files": switched / read,
        f"memory grown over {SWITCHES} switches (MB)": _growth(cache, passports, chosen),
        f"peak memory of a picture, {SIDE}×{SIDE} (MB)": peak / MB,
        "weights (MB)": weights / MB,
        "peak memory / weights": peak / weights,
    }


def _switches(cache: ModelCache, passports: list[Passport]) -> tuple[float, float]:
    """Median seconds of loading a checkpoint whose files are in the system's cache, and of only reading those."""
    switched, read = [], []
    for number in range((ROUNDS + 1) * len(passports)):
        passport = passports[number % len(passports)]
        cache.clear()
        reading = _seconds(_read, passport)
        loading = _seconds(cache.get, passport)
        if number >= len(passports):  # the first time imports and warms up
            switched.append(loading)
            read.append(reading)
    return statistics.median(switched), statistics.median(read)


def _read(passport: Passport) -> None:
    files = [passport.path] if passport.layout == "file" else sorted(passport.path.rglob("*.safetensors"))
    for path in files:
        path.read_bytes()


def _growth(cache: ModelCache, passports: list[Passport], device: Device) -> float:
    """MB that are held after all switches and were not after the first few."""
    settled = 0
    for number in range(SWITCHES):
        cache.clear()
        cache.get(passports[number % len(passports)])
        if number + 1 == SETTLED:
            settled = _held(cache, device)
    return (_held(cache, device) - settled) / MB


def _held(cache: ModelCache, device: Device) -> int:
    cache.clear()
    gc.collect()
    if device.torch_device.type == "cuda":
        return int(torch.cuda.memory_allocated(device.torch_device))
    _trim()
    return int(psutil.Process().memory_info().rss)


def measure_peak(models_dir: Path, passport: Passport, device: str, side: int = SIDE) -> tuple[int, int]:
    """Bytes that loading a checkpoint and drawing one picture take at their peak beside what the process has already,
    and bytes of the weights."""
    from webui.engine.engine import create_engine

    engine = create_engine(models_dir, device)
    values = {"checkpoint": passport.name, "prompt": "a red apple", "seed": 1, "preview": "Off"}

    def draw(side: int) -> None:
        request = build("txt2img", {**values, "width": side, "height": side, "num_inference_steps": 2})
        *_, last = engine.run(Job(id="bench", request=request), lambda: None)
        if isinstance(last, Failed):
            raise RuntimeError(str(last.text))

    draw(64)  # everything that is imported and kept in any case
    components = engine.loaded
    weights = 0 if components is None else components.bytes
    del components
    engine.free_memory()
    device_used = torch.device(engine.info().device)
    before = _reset_peak(device_used)
    draw(side)
    return _peak(device_used) - before, weights


def _reset_peak(device: torch.device) -> int:
    """Bytes in use now, from which peaks count."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    _trim()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # forgets the peak (proc(5))
    return int(psutil.Process().memory_info().rss)


def _trim() -> None:
    """What was given back to the C library is given back to the system as well, where it is glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status").read_text("ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024


def _seconds(work: Callable[[Passport], object], passport: Passport) -> float:
    begin = time.perf_counter()
    work(passport)
    return time.perf_counter() - begin
