"""Prompts to conditioning: weighted chunks through the text encoder, and which of them holds at which step.

What a prompt means is read by `webui/prompt`; here are its numbers. A plain prompt of one chunk is encoded exactly as
diffusers' StableDiffusionPipeline does it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from webui.prompt.chunks import Chunk, Vocabulary, chunks
from webui.prompt.plan import PlannedPart, PromptPlan
from webui.prompt.weights import Sections

KEPT_ENCODINGS = 64
"""A few dozen KB each; enough for prompts that are changed back and forth."""


@dataclass(frozen=True)
class Conditioning:
    """What guides the pictures of one model call."""

    conds: tuple[torch.Tensor, ...]
    """One for each part of the prompt that AND joins: (pictures, tokens, hidden), all of one shape."""
    weights: tuple[float, ...]
    """Of the parts."""
    uncond: torch.Tensor | None
    """Same shape; None when guidance is off."""

    def to(self, dtype: torch.dtype) -> "Conditioning":
        uncond = None if self.uncond is None else self.uncond.to(dtype)
        return Conditioning(tuple(cond.to(dtype) for cond in self.conds), self.weights, uncond)


@dataclass(frozen=True)
class Words:
    """The tokenizer as `webui.prompt` wants it: text is text, and marks in it are words like any others."""

    tokenizer: Any  # transformers is not typed

    def ids(self, text: str) -> Sequence[int]:
        found: list[int] = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, truncation=False, verbose=False
        ).input_ids
        return found


class PromptEncoder:
    """Tokenizer and text encoder of one checkpoint, with a memory of the last prompts."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self.vocabulary = Vocabulary(Words(tokenizer))
        self._kept: OrderedDict[object, torch.Tensor] = OrderedDict()

    def encode(self, said: Sections, emphasis: str = "Original", clip_skip: int = 1) -> torch.Tensor:
        """(1, 77 × chunks, hidden) in the text encoder's dtype; the same again comes from memory."""
        key = said, emphasis, clip_skip
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        encoded = self._chunks(chunks(said, self.vocabulary), emphasis, clip_skip)
        self._kept[key] = encoded
        if len(self._kept) > KEPT_ENCODINGS:
            self._kept.popitem(last=False)
        return encoded

    def lengthened(self, encoded: torch.Tensor, tokens: int, clip_skip: int = 1) -> torch.Tensor:
        """`encoded` with empty chunks behind it, `tokens` long."""
        missing = (tokens - encoded.shape[1]) // self.length
        if not missing:
            return encoded
        return torch.cat([encoded, *[self._chunks((Chunk(),), "Ignore", clip_skip)] * missing], dim=1)

    @property
    def length(self) -> int:
        """Tokens of a chunk with its marks."""
        return int(self._tokenizer.model_max_length)

    @property
    def layers(self) -> int:
        return int(self._text_encoder.config.num_hidden_layers)

    @torch.inference_mode()
    def _chunks(self, said: Sequence[Chunk], emphasis: str, clip_skip: int) -> torch.Tensor:
        tokenizer = self._tokenizer
        marks = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        framed = [chunk.framed(*marks) for chunk in said]
        device = self._text_encoder.device
        hidden = self._hidden(torch.tensor([ids for ids, _ in framed], device=device), said, clip_skip)
        weights = torch.tensor([weights for _, weights in framed], device=device)
        if (weights != 1).any():
            hidden = emphasised(hidden, weights.to(hidden.dtype), emphasis)
        return hidden.flatten(0, 1).unsqueeze(0)

    def _hidden(self, ids: torch.Tensor, said: Sequence[Chunk], clip_skip: int) -> torch.Tensor:
        """(chunks, 77, hidden): the last layer's, or that of `clip_skip` - 1 layers before it, normed."""
        mask = None
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            read = torch.tensor([len(chunk.ids) + 2 for chunk in said], device=ids.device)
            mask = (torch.arange(ids.shape[1], device=ids.device) < read[:, None]).long()
        output = self._text_encoder(ids, attention_mask=mask, output_hidden_states=clip_skip > 1)
        if clip_skip == 1:
            last: torch.Tensor = output[0]
            return last
        earlier: torch.Tensor = self._text_encoder.final_layer_norm(output.hidden_states[-clip_skip])
        return earlier


def emphasised(hidden: torch.Tensor, weights: torch.Tensor, emphasis: str) -> torch.Tensor:
    """(chunks, tokens, hidden) under (chunks, tokens) weights, by a name in `webui.prompt.weights.EMPHASIS`.

    "Original" scales each chunk back to its own mean, so that weights shift attention and not the overall strength.
    """
    if emphasis in ("Ignore", "None"):
        return hidden
    weighted = hidden * weights[..., None]
    if emphasis == "No norm":
        return weighted
    before, after = (each.float().mean((1, 2), keepdim=True) for each in (hidden, weighted))
    return weighted * torch.where(after == 0, 1.0, before / after).to(hidden.dtype)


class PlannedPrompts:
    """A prompt and its opposite, encoded: what holds at each step."""

    def __init__(
        self,
        encoder: PromptEncoder,
        positive: PromptPlan,
        negative: PromptPlan | None,
        *,
        emphasis: str = "Original",
        clip_skip: int = 1,
    ) -> None:
        """`negative` None: guidance is off. Everything is encoded here, so that no step waits for it."""
        self._positive, self._negative = positive, negative
        self.tags = positive.tags
        plans = [plan for plan in (positive, negative) if plan is not None]
        said = {text: sections for plan in plans for text, sections in plan.texts.items()}
        encoded = {text: encoder.encode(sections, emphasis, clip_skip) for text, sections in said.items()}
        longest = max(hidden.shape[1] for hidden in encoded.values())
        self._encoded = {text: encoder.lengthened(hidden, longest, clip_skip) for text, hidden in encoded.items()}

    def at(self, step: int, pictures: int) -> Conditioning:
        """The conditioning of `step`, counted from 1, the same for each of `pictures` pictures."""
        parts = self._positive.parts
        uncond = None if self._negative is None else self._hidden(self._negative.parts[0], step, pictures)
        conds = tuple(self._hidden(part, step, pictures) for part in parts)
        return Conditioning(conds, tuple(part.weight for part in parts), uncond)

    def _hidden(self, part: PlannedPart, step: int, pictures: int) -> torch.Tensor:
        return self._encoded[part.at(step).text].expand(pictures, -1, -1)
