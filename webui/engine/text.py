"""Prompts to conditioning, exactly as diffusers' StableDiffusionPipeline encodes them.

Plain text only: weights in brackets and longer prompts belong to the prompt grammar.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch

from webui.sentences import Sentence

KEPT_ENCODINGS = 64
"""A few dozen KB each; enough for prompts that are changed back and forth."""
LONGEST_QUOTE = 200


@dataclass(frozen=True)
class EncodedPrompt:
    """One prompt as the model sees it."""

    hidden: torch.Tensor
    """(1, tokens, hidden), in the text encoder's dtype."""
    left_out: str
    """Words beyond the model's length, "" when all fitted."""


@dataclass(frozen=True)
class Conditioning:
    """What guides the pictures of one model call."""

    cond: torch.Tensor
    """(pictures, tokens, hidden)."""
    uncond: torch.Tensor | None
    """Same shape; None when guidance is off."""

    def to(self, dtype: torch.dtype) -> "Conditioning":
        return Conditioning(self.cond.to(dtype), None if self.uncond is None else self.uncond.to(dtype))


class PromptEncoder:
    """Tokenizer and text encoder of one checkpoint, with a memory of the last prompts."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:  # transformers is not typed
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._kept: OrderedDict[str, EncodedPrompt] = OrderedDict()

    @property
    def room(self) -> int:
        """Tokens of a prompt that fit: the start and end marks take two."""
        return int(self._tokenizer.model_max_length) - 2

    def encode(self, prompt: str) -> EncodedPrompt:
        """Encode one prompt; the same text again comes from memory."""
        if prompt in self._kept:
            self._kept.move_to_end(prompt)
            return self._kept[prompt]
        encoded = EncodedPrompt(self._hidden(prompt), self._left_out(prompt))
        self._kept[prompt] = encoded
        if len(self._kept) > KEPT_ENCODINGS:
            self._kept.popitem(last=False)
        return encoded

    @torch.inference_mode()
    def _hidden(self, prompt: str) -> torch.Tensor:
        tokens = self._tokenizer(
            [prompt],
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        device = self._text_encoder.device
        mask = None
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            mask = tokens.attention_mask.to(device)
        hidden = self._text_encoder(tokens.input_ids.to(device), attention_mask=mask)[0]
        assert isinstance(hidden, torch.Tensor)
        return hidden

    def _left_out(self, prompt: str) -> str:
        """The end of the prompt, in its own words, that does not fit."""
        spans = self._tokenizer(prompt, return_offsets_mapping=True, add_special_tokens=False, verbose=False)[
            "offset_mapping"
        ]
        return prompt[spans[self.room][0] :].strip() if len(spans) > self.room else ""


def conditioning(cond: EncodedPrompt, uncond: EncodedPrompt | None, pictures: int) -> Conditioning:
    """The same conditioning for each of `pictures` pictures."""
    return Conditioning(
        cond.hidden.expand(pictures, -1, -1),
        None if uncond is None else uncond.hidden.expand(pictures, -1, -1),
    )


def left_out_warning(what: str, encoded: EncodedPrompt, room: int) -> Sentence | None:
    """Names the words of the `what` ("prompt", "negative prompt") that were cut, if any were."""
    if not encoded.left_out:
        return None
    quote = encoded.left_out
    if len(quote) > LONGEST_QUOTE:
        quote = quote[:LONGEST_QUOTE].rstrip() + "…"
    return Sentence(
        "The {what} is longer than {room} tokens. This part was left out: “{quote}”.",
        what=Sentence(what),
        room=room,
        quote=quote,
    )
