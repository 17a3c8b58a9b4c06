"""Which device draws, in which precision and with how many threads. Decided once per engine process."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from webui.errors import CannotStart


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where tensors live and what they are made of."""

    torch_device: torch.device
    name: str
    """The chip's own name, for people."""
    dtype: torch.dtype
    """Precision of the networks. Latents and the sampler's arithmetic are always fp32."""


def pick_device(wanted: str, worker: int = 0) -> Device:
    """`auto` is a CUDA card or the CPU, `cuda` a card: the first for worker 0, the next for worker 1, and so on around.

    Raises `CannotStart` for a device that is absent.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        torch.set_num_threads(compute_threads())
        return Device(torch_device=torch.device("cpu"), name=_cpu_name(), dtype=torch.float32)
    cards = torch.cuda.device_count()
    number = wanted.removeprefix("cuda").removeprefix(":") or str(worker % max(cards, 1))
    if not wanted.startswith("cuda") or not number.isdecimal() or int(number) >= cards:
        known = ", ".join(["auto", "cpu", *(f"cuda:{card}" for card in range(cards))])
        raise CannotStart(
            "There is no device '{wanted}' here. Start with --device and one of: {known}.", wanted=wanted, known=known
        )
    device = torch.device("cuda", int(number))
    return Device(torch_device=device, name=torch.cuda.get_device_name(device), dtype=torch.float16)


def compute_threads() -> int:
    """One per core, since two on one core share its vector units and only get in each other's way; at most
    `OMP_NUM_THREADS` where that is set, by somebody who has other work for the rest."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    most = int(wanted) if wanted.isdecimal() else 0
    return min(physical_cores(), most) if most else physical_cores()


def physical_cores(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """Cores this process may use, hardware threads of one core counted once; at least 1."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    try:
        blocks = cpuinfo.read_text("utf-8", "replace").strip().split("\n\n")
    except OSError:
        return max(len(allowed), 1)
    cores = set()
    for block in blocks:
        fields = dict(_pair(line) for line in block.splitlines() if ":" in line)
        if "core id" in fields and int(fields.get("processor", -1)) in allowed:
            cores.add((fields.get("physical id"), fields["core id"]))
    return len(cores) or max(len(allowed), 1)


def _cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "CPU"
    return next((value for key, value in map(_pair, lines) if key == "model name"), "CPU")


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()
