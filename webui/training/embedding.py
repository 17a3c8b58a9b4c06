"""A new word for a checkpoint's text encoder: textual inversion, Gal et al. 2022 (arXiv:2208.01618).

Only the word's own vectors are trained, beside the table of known words, which is never touched. Owns the vectors, how
texts with the word are encoded, and the file; using an embedding on pictures is the engine's business.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from webui.errors import TrainingError
from webui.train_requests import TrainEmbedding
from webui.training.adapter import Lesson, prepare_material, required_checkpoint
from webui.training.course import Course, stage_of
from webui.training.data import Example
from webui.training.loop import Trainer
from webui.training.networks import Networks, Tower, load_networks
from webui.training.results import TOKEN_KEY, claim, write_tensors
from webui.training.session import Update, Workspace

TEMPLATES = (
    *("a photo of {}", "a picture of {}", "a close-up of {}", "{} in the middle of the picture"),
    *("a bright photo of {}", "a good picture of {}", "{} seen from near", "a drawing of {}"),
)
"""Captions of pictures that have none, in the manner of the paper's appendix."""


def train_embedding(request: TrainEmbedding, workspace: Workspace) -> Iterator[Update]:
    """Train, or go on training. Raises `UserError` for a checkpoint or dataset that cannot be used."""
    result = workspace.models / request.result
    run_token = claim(result, workspace.run)
    networks = load_networks(required_checkpoint(workspace), workspace.device, request.precision)
    word = NewWord(networks, request)
    trainer = Trainer(stage_of(request, workspace, weight_decay=0.0), word.model)
    lesson = Lesson(
        request=request,
        workspace=workspace,
        networks=networks,
        done=trainer.step,
        caption_of=lambda example: word.placed(caption_of(example, request.token)),
        texts_learn=True,
    )
    with trainer.accelerator.main_process_first():
        material = yield from prepare_material(lesson)
    prompt = word.placed(request.sample_prompt or TEMPLATES[0].format(request.token))

    def write() -> Path:
        own = json.dumps({"kind": request.kind, **dataclasses.asdict(request)}, ensure_ascii=False)
        return write_tensors(word.tensors(), {TOKEN_KEY: run_token, "easel": own}, result)

    yield from Course(
        request=request, trainer=trainer, loss_of=material.loss, sample=lambda: material.sample(prompt), write=write
    ).updates()


def caption_of(example: Example, token: str) -> str:
    """A caption with the word in it: as it is, put before it, or a template's."""
    if not example.caption:
        return TEMPLATES[sum(example.path.name.encode()) % len(TEMPLATES)].format(token)
    return example.caption if occurrences(token).search(example.caption) else f"{token}, {example.caption}"


def occurrences(token: str) -> re.Pattern[str]:
    """Finds the word, but not as a part of another one."""
    return re.compile(rf"(?<!\w){re.escape(token)}(?!\w)")


class Words(nn.Module):
    """A frozen table of words with some rows more, which alone are trained."""

    def __init__(self, table: nn.Embedding, first: int, rows: torch.Tensor) -> None:
        """The ids from `first` on are those of `rows` (vectors, features)."""
        super().__init__()
        self.table = table
        self.first = first
        self.rows = nn.Parameter(rows.detach().clone().float())

    @property
    def weight(self) -> torch.Tensor:
        """What transformers looks at for precision and device."""
        return self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(n, tokens) -> (n, tokens, features) in the table's precision."""
        place = ids - self.first
        is_new = (place >= 0) & (place < len(self.rows))
        known: torch.Tensor = self.table(ids.masked_fill(is_new, 0))
        new = F.embedding(place.clamp(0, len(self.rows) - 1), self.rows).to(known.dtype)
        return torch.where(is_new.unsqueeze(-1), new, known)


class NewWord:
    """The word in every tower of a checkpoint; each gets vectors of its own."""

    def __init__(self, networks: Networks, request: TrainEmbedding) -> None:
        """Raises `TrainingError` when the word it begins with says nothing."""
        self._token = occurrences(request.token)
        self._places = [f"<easel-{number}>" for number in range(request.vectors)]
        self._names = ("clip_l", "clip_g") if networks.is_xl else ("emb_params",)
        self._words = [self._install(tower, request.initial_word) for tower in networks.texts.towers]

    def _install(self, tower: Tower, initial_word: str) -> Words:
        rows = initial_rows(tower, initial_word, len(self._places))
        tower.tokenizer.add_tokens(self._places)
        ids = tower.tokenizer.convert_tokens_to_ids(self._places)
        body = getattr(tower.encoder, "text_model", tower.encoder)
        words = Words(body.embeddings.token_embedding, ids[0], rows)
        body.embeddings.token_embedding = words
        # Old configs (2) take the highest id for the end of a text, which is not true any more with a new word.
        body.eos_token_id = tower.tokenizer.eos_token_id
        return words

    @property
    def model(self) -> nn.Module:
        """The vectors alone."""
        return nn.ParameterDict(dict(zip(self._names, (words.rows for words in self._words), strict=True)))

    def placed(self, text: str) -> str:
        """The text with the word written as the tokenizers know it, one place per vector."""
        return self._token.sub(" ".join(self._places), text)

    def tensors(self) -> dict[str, torch.Tensor]:
        """(vectors, features) under the names that AUTOMATIC1111 and ComfyUI read, fp32."""
        return {name: words.rows.detach().float() for name, words in zip(self._names, self._words, strict=True)}


def initial_rows(tower: Tower, word: str, vectors: int) -> torch.Tensor:
    """(vectors, features): the vectors of a known word, spread over the places or repeated."""
    ids: Sequence[int] = tower.tokenizer(word, add_special_tokens=False).input_ids
    if not ids:
        raise TrainingError("The initial word is empty. Name a word that is near in meaning, such as object or style.")
    known: Any = getattr(tower.encoder, "text_model", tower.encoder).embeddings.token_embedding.weight
    rows: torch.Tensor = known[[ids[place * len(ids) // vectors] if vectors < len(ids) else ids[place % len(ids)]
                                for place in range(vectors)]]  # fmt: skip
    return rows
