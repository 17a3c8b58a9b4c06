"""Networks that look at pictures: for perceptual distances while training, and for figures about finished pictures.

Owns a small format of our own (a chain of layers in a safetensors file) and what counts as a judge of pictures.
Trains nothing and fetches nothing.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from webui.errors import CheckpointError

METADATA_KEY = "easel_features"
MOST_LAYERS = 200
WIDEST = 8192
RANDOM_LAYERS = (
    *("conv 32", "relu", "conv 32", "relu", "tap", "pool", "conv 64", "relu", "conv 64", "relu", "tap"),
    *("pool", "conv 96", "relu", "conv 96", "relu", "tap", "pool", "conv 128", "relu", "conv 128", "relu", "tap"),
)
"""VGG's pattern (Simonyan & Zisserman 2015) at a width that a CPU computes."""

Triple: TypeAlias = tuple[float, float, float]


class Judge(Protocol):
    """What a figure about pictures needs of a network. Pictures are (n, 3, h, w) in [-1, 1], of any size."""

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, d)."""
        ...

    def logits(self, pictures: torch.Tensor) -> torch.Tensor | None:
        """(n, classes), or None when it knows no classes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A network as words: "conv N" (3×3, N channels), "relu", "pool" (half the side), "tap" (features are taken)."""

    layers: tuple[str, ...]
    side: int = 0
    """Judged pictures are brought to this many pixels squared first; 0: they stay as they are."""
    classes: int = 0
    mean: Triple = (0.0, 0.0, 0.0)
    """Subtracted from the channels in [-1, 1]; then they are divided by `deviation`."""
    deviation: Triple = (1.0, 1.0, 1.0)
    weighted: bool = False
    """Whether each channel of a tap has a weight of its own, as LPIPS learns them."""


class FeatureNetwork(nn.Module):
    """A chain of convolutions whose taps are compared; frozen, in evaluation mode. A `Judge`."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = chain
        self.convolutions = nn.ModuleList()
        widths, channels = [], 3
        for word, number in _words(chain.layers):
            if word == "conv":
                self.convolutions.append(nn.Conv2d(channels, number, 3, padding=1))
                channels = number
            elif word == "tap":
                widths.append(channels)
        self.head = nn.Linear(channels, chain.classes) if chain.classes else None
        self.weights = nn.ParameterList([torch.ones(width) for width in widths] if chain.weighted else [])
        self.register_buffer("mean", torch.tensor(chain.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(chain.deviation).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def taps(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(n, channels, h, w) at every tap, for pictures (n, 3, h, w) in [-1, 1]; a tap needs one pixel at least."""
        x = (pictures - self.mean) / self.deviation
        convolutions, found = iter(self.convolutions), []
        for word, _ in _words(self.chain.layers):
            if word == "conv":
                x = next(convolutions)(x)
            elif word == "relu":
                x = F.relu(x)
            elif word == "tap":
                found.append(x)
            elif min(x.shape[-2:]) < 2:
                break  # smaller pictures have fewer taps
            else:
                x = F.max_pool2d(x, 2)
        return found

    def distance(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """(n,): perceptual distance of pictures (n, 3, h, w) in [-1, 1].

        Zhang et al. 2018 (arXiv:1801.03924), eq. 1: squared difference of features normalised over channels.
        """
        total = torch.zeros(len(one), device=one.device)
        for number, (mine, theirs) in enumerate(zip(self.taps(one), self.taps(other), strict=True)):
            difference = (_unit(mine) - _unit(theirs)).pow(2)
            if len(self.weights):
                difference = difference * self.weights[number].view(1, -1, 1, 1)
            total = total + difference.sum(1).mean((1, 2))
        return total

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, d): the last tap, averaged over the picture."""
        side = self.chain.side
        if side:
            pictures = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
        return self.taps(pictures)[-1].mean((2, 3))

    def logits(self, pictures: torch.Tensor) -> torch.Tensor | None:
        if self.head is None:
            return None
        found: torch.Tensor = self.head(self.features(pictures))
        return found


def _unit(features: torch.Tensor) -> torch.Tensor:
    # The root's slope at zero is infinite: dead places get a length of 1e-5 instead.
    return features * (features.float().pow(2).sum(1, keepdim=True) + 1e-10).rsqrt()


def _words(layers: Sequence[str]) -> Iterator[tuple[str, int]]:
    """("conv", 64) for "conv 64", ("relu", 0) for "relu". Raises ValueError for anything else."""
    for layer in layers:
        word, _, number = layer.partition(" ")
        is_conv = word == "conv" and number.isdecimal() and 0 < int(number) <= WIDEST
        if not is_conv and layer not in ("relu", "pool", "tap"):
            raise ValueError(f"There is no layer '{layer[:40]}'.")
        yield word, int(number or 0)


def random_features(seed: int = 0) -> FeatureNetwork:
    """A network that never learnt anything: deep random features already tell structure apart.

    Liu et al. 2021, "A Generic Perceptual Loss for Modeling Structured Output Dependencies" (arXiv:2103.10571). Needs
    no file and has no classes. Same seed, same network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FeatureNetwork(Chain(layers=RANDOM_LAYERS))
        for convolution in network.modules():
            if isinstance(convolution, nn.Conv2d) and convolution.bias is not None:
                nn.init.kaiming_normal_(convolution.weight)
                nn.init.zeros_(convolution.bias)
    return network


def save_features(network: FeatureNetwork, path: Path) -> None:
    """The network as a safetensors file whose header says what its layers are."""
    description = json.dumps(asdict(network.chain))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, {METADATA_KEY: description})


def load_features(path: Path) -> FeatureNetwork:
    """What `save_features` wrote. Raises `CheckpointError`."""
    try:
        with safe_open(path, "pt") as file:
            description = (file.metadata() or {}).get(METADATA_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        if description is None:
            raise ValueError(f"its header has no {METADATA_KEY}")
        chain = TypeAdapter(Chain).validate_python(_tuples(json.loads(description)))
        if len(chain.layers) > MOST_LAYERS or "tap" not in chain.layers:
            raise ValueError("it has no tap, or too many layers")
        network = FeatureNetwork(chain)
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, ValidationError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            "{name} is no feature network: {reason}.", name=path.name, reason=str(error).partition("\n")[0]
        ) from error
    return network


def _tuples(values: Any) -> Any:
    """Any: what JSON holds, with tuples for its lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in dict(values).items()}


def load_judge(path: Path) -> Judge:
    """A network from a file: our own safetensors, or a TorchScript .pt such as the Inception that FID is defined by.

    Raises `CheckpointError`.
    """
    if path.suffix == ".safetensors":
        return load_features(path)
    if path.suffix in (".pt", ".pth", ".jit"):
        from webui.training.scripted import load_scripted

        return load_scripted(path)
    raise CheckpointError(
        "{name} is no feature network: give a .safetensors file of Easel's, or a TorchScript .pt file.", name=path.name
    )
