"""Prompts to conditioning: weighted chunks through the text encoders, and which of them holds at which step.

What a prompt means is read by `webui/prompt`; here are its numbers. A plain prompt of one chunk is encoded exactly as
diffusers' StableDiffusionPipeline does it, and with SDXL's towers as StableDiffusionXLPipeline does.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from webui.engine.embeddings import Embedding, EmbeddingShelf
from webui.errors import CheckpointError
from webui.prompt.chunks import Chunk, Vocabulary, chunks
from webui.prompt.plan import PlannedPart, PromptPlan
from webui.prompt.weights import Sections
from webui.sentences import Sentence

KEPT_ENCODINGS = 64
"""A few dozen KB each; enough for prompts that are changed back and forth."""


@dataclass(frozen=True)
class Encoded:
    """A text as the UNet takes it."""

    hidden: torch.Tensor
    """(pictures, tokens, features)."""
    pooled: torch.Tensor | None = None
    """(pictures, features): SDXL's one vector for the whole text."""

    def to(self, dtype: torch.dtype) -> "Encoded":
        return Encoded(self.hidden.to(dtype), None if self.pooled is None else self.pooled.to(dtype))

    def expand(self, pictures: int) -> "Encoded":
        """The one text for each of `pictures`."""
        pooled = None if self.pooled is None else self.pooled.expand(pictures, -1)
        return Encoded(self.hidden.expand(pictures, -1, -1), pooled)

    def zeros(self) -> "Encoded":
        return Encoded(torch.zeros_like(self.hidden), None if self.pooled is None else torch.zeros_like(self.pooled))


@dataclass(frozen=True)
class Conditioning:
    """What guides the pictures of one model call."""

    conds: tuple[Encoded, ...]
    """One for each part of the prompt that AND joins, all of one shape."""
    weights: tuple[float, ...]
    """Of the parts."""
    uncond: Encoded | None
    """Same shape; None when guidance is off."""
    areas: "tuple[Area, ...]" = ()
    """Parts of the picture under prompts of their own, which extensions add."""

    def to(self, dtype: torch.dtype) -> "Conditioning":
        uncond = None if self.uncond is None else self.uncond.to(dtype)
        areas = tuple(Area(area.box, area.share, area.conditioning.to(dtype)) for area in self.areas)
        return Conditioning(tuple(cond.to(dtype) for cond in self.conds), self.weights, uncond, areas)


@dataclass(frozen=True)
class Area:
    """A part of the picture under a prompt of its own; what becomes of it is known to `areas`."""

    box: tuple[int, int, int, int]
    """Left, top, right and bottom in latents."""
    share: torch.Tensor
    """(height, width) of the box, 0 to 1."""
    conditioning: Conditioning


@dataclass(frozen=True)
class Words:
    """The tokenizer as `webui.prompt` wants it: text is text, and marks in it are words like any others."""

    tokenizer: Any  # transformers is not typed

    def ids(self, text: str) -> Sequence[int]:
        found: list[int] = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, truncation=False, verbose=False
        ).input_ids
        return found


@dataclass(frozen=True)
class Tower:
    """A tokenizer with its text encoder, CLIP-shaped."""

    tokenizer: Any
    encoder: Any
    """CLIPTextModel; CLIPTextModelWithProjection where the whole text's vector is wanted too."""
    key: str = ""
    """The name of its vectors in an embedding's file: "clip_l" or "clip_g" of SDXL, "" where it is the only one."""

    @property
    def body(self) -> Any:
        """The network inside, whether it has a projection or not."""
        return getattr(self.encoder, "text_model", self.encoder)


class PromptReader(Protocol):
    """Makes what a UNet takes of texts; `PromptEncoder` for those that know words."""

    zeroes_empty: bool

    def learn(self, plans: Sequence[PromptPlan], /) -> None: ...

    def forget(self) -> None: ...

    def named(self, plans: Sequence[PromptPlan], /) -> dict[str, Embedding]: ...

    def unfit(self, plans: Sequence[PromptPlan], /) -> dict[str, Sentence]: ...

    def encode(self, said: Sections, emphasis: str = "Original", clip_skip: int = 1) -> Encoded: ...

    def lengthened(self, encoded: Encoded, tokens: int, clip_skip: int = 1) -> Encoded: ...

    @property
    def length(self) -> int: ...

    @property
    def layers(self) -> int: ...


class PromptEncoder:
    """The towers of one checkpoint, with a memory of the last prompts.

    One tower is Stable Diffusion's; two, or one with `is_xl`, are SDXL's and its refiner's: the layer before the last,
    not normed, whatever clip skip says (Podell et al. 2023, arXiv:2307.01952, section 2.1), features side by side.
    """

    def __init__(
        self,
        towers: Sequence[Tower],
        *,
        is_xl: bool = False,
        zeroes_empty: bool = False,
        embeddings: EmbeddingShelf | None = None,
    ) -> None:
        """`zeroes_empty`: an empty negative prompt is zeros, as SDXL was trained, instead of an encoded empty text.

        Raises `CheckpointError` when the towers cut text into different tokens.
        """
        self._towers = tuple(towers)
        first, *others = (tower.tokenizer for tower in self._towers)
        if any(other.get_vocab() != first.get_vocab() for other in others):
            raise CheckpointError("tokenizer and tokenizer_2 know different words. Take all parts from one model.")
        self._is_xl = is_xl
        self.zeroes_empty = zeroes_empty
        self._tokenizer = first
        self._shelf = embeddings
        self._embeddings: dict[str, Embedding] = {}
        self._unfit: dict[str, Sentence] = {}
        self.vocabulary = Vocabulary(Words(first))
        self._kept: OrderedDict[object, Encoded] = OrderedDict()

    def learn(self, plans: Sequence[PromptPlan]) -> None:
        """Look for the embeddings that these prompts may name, as they are on the disk now."""
        if self._shelf is None:
            return
        found = self._shelf.named_in(text for plan in plans for text in plan.texts)
        wanted = {name: embedding for name, embedding in found.items() if embedding.misfit(self.widths) is None}
        misfits = {name: embedding.misfit(self.widths) for name, embedding in found.items()}
        self._unfit = {name: problem for name, problem in misfits.items() if problem is not None}
        if wanted != self._embeddings:
            self._embeddings = wanted
            vectors = {name: embedding.vectors for name, embedding in wanted.items()}
            self.vocabulary = Vocabulary(Words(self._tokenizer), vectors)
            self.forget()

    def forget(self) -> None:
        """Encode everything anew from now on: the towers have changed or moved."""
        self._kept.clear()

    def encode(self, said: Sections, emphasis: str = "Original", clip_skip: int = 1) -> Encoded:
        """One text, 77 tokens per chunk, in the text encoders' dtype; the same again comes from memory."""
        key = said, emphasis, clip_skip
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        encoded = self._chunks(chunks(said, self.vocabulary), emphasis, clip_skip)
        self._kept[key] = encoded
        if len(self._kept) > KEPT_ENCODINGS:
            self._kept.popitem(last=False)
        return encoded

    def lengthened(self, encoded: Encoded, tokens: int, clip_skip: int = 1) -> Encoded:
        """`encoded` with empty chunks behind it, `tokens` long."""
        missing = (tokens - encoded.hidden.shape[1]) // self.length
        if not missing:
            return encoded
        empty = self._chunks((Chunk(),), "Ignore", clip_skip).hidden
        return Encoded(torch.cat([encoded.hidden, *[empty] * missing], dim=1), encoded.pooled)

    def named(self, plans: Sequence[PromptPlan]) -> dict[str, Embedding]:
        """The embeddings that the prompts name, in order."""
        return {name: self._embeddings[name] for name in _named(plans, self.vocabulary)} if self._embeddings else {}

    def unfit(self, plans: Sequence[PromptPlan]) -> dict[str, Sentence]:
        """Embeddings that the prompts name and that cannot be used, and why."""
        if not self._unfit:
            return {}
        vocabulary = Vocabulary(Words(self._tokenizer), dict.fromkeys(self._unfit, 1))
        return {name: self._unfit[name] for name in _named(plans, vocabulary)}

    @property
    def widths(self) -> dict[str, int]:
        """Features of a word's vector in each tower, by the tower's key."""
        return {tower.key: int(tower.encoder.config.hidden_size) for tower in self._towers}

    @property
    def length(self) -> int:
        """Tokens of a chunk with its marks."""
        return int(self._tokenizer.model_max_length)

    @property
    def layers(self) -> int:
        return min(int(tower.encoder.config.num_hidden_layers) for tower in self._towers)

    @torch.inference_mode()
    def _chunks(self, said: Sequence[Chunk], emphasis: str, clip_skip: int) -> Encoded:
        """Each tower's features side by side; the whole text's vector is the first chunk's, as in AUTOMATIC1111."""
        hidden, pooled = [], None
        for tower in self._towers:
            states, whole = self._read(tower, said, clip_skip)
            weights = torch.tensor([chunk.framed(0, 0, 0)[1] for chunk in said], device=states.device)
            if (weights != 1).any():
                states = emphasised(states, weights.to(states.dtype), emphasis)
            hidden.append(states.flatten(0, 1).unsqueeze(0))
            pooled = whole[:1] if self._is_xl and whole is not None else pooled
        return Encoded(torch.cat(hidden, dim=-1) if len(hidden) > 1 else hidden[0], pooled)

    def _read(self, tower: Tower, said: Sequence[Chunk], clip_skip: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(chunks, 77, features) of the layer that counts, and (chunks, features) of whole chunks or None."""
        tokenizer, encoder = tower.tokenizer, tower.encoder
        marks = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        ids = torch.tensor([chunk.framed(*marks)[0] for chunk in said], device=encoder.device)
        mask = None
        if getattr(encoder.config, "use_attention_mask", False):
            read = torch.tensor([len(chunk.ids) + 2 for chunk in said], device=ids.device)
            mask = (torch.arange(ids.shape[1], device=ids.device) < read[:, None]).long()
        with self._placed(tower, said):
            output = encoder(ids, attention_mask=mask, output_hidden_states=self._is_xl or clip_skip > 1)
        if self._is_xl:
            return output.hidden_states[-2], getattr(output, "text_embeds", None)
        if clip_skip == 1:
            return output.last_hidden_state, None
        return tower.body.final_layer_norm(output.hidden_states[-clip_skip]), None

    @contextmanager
    def _placed(self, tower: Tower, said: Sequence[Chunk]) -> Iterator[None]:
        """While it lasts, the tower's table of words gives an embedding's own vectors where one stands."""
        places = [(row, place) for row, chunk in enumerate(said) for place in chunk.embeddings]
        if not places:
            yield
            return

        def place_vectors(_module: object, _inputs: object, words: torch.Tensor) -> torch.Tensor:
            words = words.clone()
            for row, place in places:
                vectors = self._embeddings[place.name].tensors[tower.key]
                begin = place.position + 1  # behind the start mark
                words[row, begin : begin + len(vectors)] = vectors.to(words)
            return words

        handle = tower.body.embeddings.token_embedding.register_forward_hook(place_vectors)
        try:
            yield
        finally:
            handle.remove()


def _named(plans: Sequence[PromptPlan], vocabulary: Vocabulary) -> list[str]:
    """The embeddings of a vocabulary that stand in the prompts, each once, in order."""
    said = (sections for plan in plans for sections in plan.texts.values())
    placed = (place for each in said for chunk in chunks(each, vocabulary) for place in chunk.embeddings)
    return list(dict.fromkeys(place.name for place in placed))


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
        encoder: PromptReader,
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
        encoder.learn(plans)
        self.embeddings = encoder.named(plans)
        """Those that the prompts name."""
        self.unfit_embeddings = encoder.unfit(plans)
        """Those that the prompts name without effect, and why."""
        said = {text: sections for plan in plans for text, sections in plan.texts.items()}
        encoded = {text: encoder.encode(sections, emphasis, clip_skip) for text, sections in said.items()}
        longest = max(each.hidden.shape[1] for each in encoded.values())
        self._encoded = {text: encoder.lengthened(each, longest, clip_skip) for text, each in encoded.items()}
        self._zeroes_empty = encoder.zeroes_empty
        self.chunks = longest // encoder.length
        """How many readings of the text encoder the longest text needs."""

    def at(self, step: int, pictures: int) -> Conditioning:
        """The conditioning of `step`, counted from 1, the same for each of `pictures` pictures."""
        parts = self._positive.parts
        uncond = None if self._negative is None else self._opposite(self._negative.parts[0], step)
        conds = tuple(self._encoded[part.at(step).text].expand(pictures) for part in parts)
        weights = tuple(part.weight for part in parts)
        return Conditioning(conds, weights, None if uncond is None else uncond.expand(pictures))

    def _opposite(self, part: PlannedPart, step: int) -> Encoded:
        text = part.at(step).text
        return self._encoded[text].zeros() if self._zeroes_empty and not text else self._encoded[text]
