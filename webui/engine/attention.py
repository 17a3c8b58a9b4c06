"""The attention kernel of the UNet: the fastest that works here, found by timing a real shape.

On the CPU there is one candidate, torch's scaled_dot_product_attention, and nothing to time. xformers can import and
still lack a kernel or crash, so it is tried in a process of its own first; where it fails SDPA is used without a word.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0, XFormersAttnProcessor

SHAPE = (2, 4096, 8, 40)
"""(pictures, tokens, heads, channels per head): the largest self-attention of Stable Diffusion 1 at 512×512."""
ROUNDS = 10
PROBE_SECONDS = 60

_PROBE = """
import xformers.ops  # before torch: where it is absent the answer is there at once
import torch
q = torch.randn({shape}, device={device!r}, dtype=torch.float16)
assert torch.isfinite(xformers.ops.memory_efficient_attention(q, q, q)).all()
"""


def fastest_attention(device: torch.device) -> str:
    """The name of the kernel, SDPA or xformers; asked once per engine."""
    if device.type != "cuda" or not xformers_works(device):
        return "SDPA"
    return "xformers" if _seconds(_xformers(), device) < _seconds(_sdpa, device) else "SDPA"


def use_attention(unet: Any, name: str) -> None:  # diffusers is not typed
    """Give every attention layer of the UNet the kernel called `name`."""
    unet.set_attn_processor(XFormersAttnProcessor() if name == "xformers" else AttnProcessor2_0())


def xformers_works(device: torch.device) -> bool:
    """Run one real attention call of xformers in a subprocess: a crash there harms nothing here."""
    command = [sys.executable, "-c", _PROBE.format(shape=SHAPE, device=str(device))]
    try:
        return subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _xformers() -> Callable[[torch.Tensor], torch.Tensor]:
    from xformers.ops import memory_efficient_attention  # only here: it is probed and absent on CPUs

    return lambda q: torch.as_tensor(memory_efficient_attention(q, q, q))


def _sdpa(q: torch.Tensor) -> torch.Tensor:
    heads_first = q.transpose(1, 2)
    return torch.nn.functional.scaled_dot_product_attention(heads_first, heads_first, heads_first)


@torch.inference_mode()
def _seconds(attention: Callable[[torch.Tensor], torch.Tensor], device: torch.device) -> float:
    q = torch.randn(SHAPE, device=device, dtype=torch.float16)
    attention(q)
    torch.cuda.synchronize(device)
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        attention(q)
    torch.cuda.synchronize(device)
    return time.perf_counter() - begin
