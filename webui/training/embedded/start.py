"""Beginning with a network that was trained before instead of a new one."""

import logging
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from webui.training.loop import copy_into

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


def read_network(kind: type[Network], folder: Path) -> Network:
    """A network of diffusers or transformers, in fp32 whatever its file holds, ready to be used."""
    loader: Any = kind
    network = loader.from_pretrained(folder, local_files_only=True, torch_dtype=torch.float32)
    assert isinstance(network, kind)
    return network.eval()


def begin_as(network: nn.Module, folder: Path | None) -> bool:
    """Copy the weights in `folder` into `network`. False, and nothing done, when the two are of different shape."""
    if folder is None:
        return False
    theirs, ours = read_network(type(network), folder).state_dict(), network.state_dict()
    if {name: tensor.shape for name, tensor in theirs.items()} != {name: tensor.shape for name, tensor in ours.items()}:
        log.info("%s has another shape than the recipe's: this part is trained from the beginning", folder)
        return False
    copy_into(ours, theirs)
    log.info("beginning with %s", folder)
    return True
