"""The networks that turn what is no text into a denoiser's tokens: a class, or nothing at all.

Part of Easel's own folders, trained together with the denoiser (Rombach et al. 2022, arXiv:2112.10752, section 3.3).
"""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class NothingEmbedder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is not typed
    """One learned token for a denoiser that is steered by nothing."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, features) * features**-0.5)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """(n, …) -> (n, 1, features)."""
        return self.token.expand(len(context), 1, -1)


class ClassEmbedder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A learned token per class and one for none (Rombach et al. 2022, appendix E.1; Ho & Salimans 2022)."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, *, classes: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, features)
        nn.init.normal_(self.embedding.weight, std=features**-0.5)

    @property
    def null(self) -> int:
        return int(self.config.classes)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Class numbers (n,), `classes` for none -> (n, 1, features)."""
        tokens: torch.Tensor = self.embedding(context.long()).unsqueeze(1)
        return tokens
