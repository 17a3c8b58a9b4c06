"""Prompts of checkpoints that know classes, or nothing, instead of words: a class's name is the whole prompt.

Stands where `text.PromptEncoder` stands for all others; the prompt language around the name (schedules, AND) holds too.
"""

from collections.abc import Sequence
from typing import Any

import torch

from webui.engine.embeddings import Embedding
from webui.engine.text import Encoded
from webui.errors import InvalidRequest, UnknownName
from webui.prompt.plan import PromptPlan
from webui.prompt.weights import Sections
from webui.sentences import Sentence


class ClassPrompts:
    """Implements `text.PromptReader` over a `ClassEmbedder`, or over a `NothingEmbedder` when there are no classes."""

    zeroes_empty = False
    length = 1
    layers = 1

    def __init__(self, embedder: Any, classes: Sequence[str]) -> None:
        """`classes` in the order of their numbers; an empty prompt is what comes after the last: no class."""
        self._embedder = embedder
        self._numbers = {name.casefold(): number for number, name in enumerate(classes)}
        self._classes = tuple(classes)

    def learn(self, plans: Sequence[PromptPlan]) -> None:
        """Nothing: there are no words."""

    def forget(self) -> None:
        """Nothing is remembered."""

    def named(self, plans: Sequence[PromptPlan]) -> dict[str, Embedding]:
        return {}

    def unfit(self, plans: Sequence[PromptPlan]) -> dict[str, Sentence]:
        return {}

    @torch.inference_mode()
    def encode(self, said: Sections, emphasis: str = "Original", clip_skip: int = 1) -> Encoded:
        """(1, 1, features). Raises `UnknownName` for no class's name, `InvalidRequest` where there are no classes."""
        text = " ".join(piece.text for section in said for piece in section).strip()
        if text and not self._classes:
            raise InvalidRequest("This checkpoint draws without words: leave prompt and negative prompt empty.")
        if text and text.casefold() not in self._numbers:
            raise UnknownName("class", text, self._classes)
        number = self._numbers[text.casefold()] if text else len(self._classes)
        return Encoded(self._embedder(torch.tensor([number], device=self._embedder.device)))

    def lengthened(self, encoded: Encoded, tokens: int, clip_skip: int = 1) -> Encoded:
        return encoded
