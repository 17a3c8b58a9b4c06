"""How many tokens a prompt takes with a checkpoint's own tokenizer: what the page counts while somebody types.

The tokenizer is read by the `tokenizers` library, which the engine's CLIPTokenizer stands on too, so the server counts
without torch what the engine encodes. Chunks and weights are `webui.prompt`'s.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from webui.errors import CheckpointError
from webui.prompt.chunks import COMMA_BACKTRACK, TokenCount, Vocabulary
from webui.prompt.clip_vocabulary import clip_merges, clip_vocabulary
from webui.prompt.plan import finish, plan
from webui.prompt.schedule import clock

KEPT = 4
"""Tokenizers of so many checkpoints; each takes a few MB."""

PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP's tokenizer splits a text into before it looks for pairs (Radford et al. 2021, arXiv:2103.00020)."""


MARKS = {"end_of_word_suffix": "</w>", "unk_token": "<|endoftext|>"}
"""How CLIP's pairs are written."""


@dataclass(frozen=True)
class _Words:
    """Implements `chunks.Tokenizer`: marks in a text are words like any others."""

    tokenizer: Tokenizer

    def ids(self, text: str) -> Sequence[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


class TokenCounter:
    """Counts for any checkpoint. Safe to use from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, _Words] = OrderedDict()
        self._lock = threading.Lock()

    def count(
        self,
        checkpoint: Path,
        prompt: str,
        *,
        steps: int,
        is_negative: bool = False,
        emphasis: str = "Original",
        embeddings: Mapping[str, int] | None = None,
    ) -> TokenCount:
        """Tokens of `prompt`, styles applied, as the checkpoint reads it: at the step and in the part that takes most.

        `checkpoint` is a diffusers folder or a single file, which reads with CLIP's own words. `embeddings`: name ->
        number of vectors, of those that the prompt may name. Raises `CheckpointError` for an unreadable tokenizer,
        `InvalidRequest` for an impossible prompt.
        """
        understood = plan(finish(prompt, is_negative=is_negative), clock(steps), is_negative=is_negative,
                          emphasis=emphasis)  # fmt: skip
        vocabulary = Vocabulary(self._words(checkpoint), embeddings)
        return understood.count(vocabulary, comma_backtrack=COMMA_BACKTRACK)

    def _words(self, checkpoint: Path) -> _Words:
        file = None if checkpoint.is_file() else _tokenizer_of(checkpoint)
        key = None if file is None else (file, file.stat().st_mtime_ns)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = _Words(_clip() if file is None else _read(file))
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def _tokenizer_of(folder: Path) -> Path:
    """The file to read it from. A refiner has the second tokenizer alone."""
    for part in ("tokenizer", "tokenizer_2"):
        for name in ("tokenizer.json", "vocab.json"):
            if (folder / part / name).is_file():
                return folder / part / name
    raise CheckpointError("{folder} holds no tokenizer, so nothing can be counted.", folder=folder.name)


def _clip() -> Tokenizer:
    merges = clip_merges()
    return _like_clip(models.BPE(clip_vocabulary(merges), merges, **MARKS))


def _read(file: Path) -> Tokenizer:
    try:
        if file.name == "tokenizer.json":
            return _plain(Tokenizer.from_file(str(file)))
        # As older folders have it: vocabulary and pairs apart.
        return _like_clip(models.BPE.from_file(str(file), str(file.with_name("merges.txt")), **MARKS))
    except Exception as error:  # tokenizers, written in Rust, raises bare Exception for any fault of a file
        raise CheckpointError(
            "{part}/ cannot be loaded ({reason}). Copy the folder again.",
            part=file.parent.name, reason=str(error)[:200],
        ) from error  # fmt: skip


def _like_clip(pairs: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(pairs)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return _plain(tokenizer)


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """One that cuts nothing off, adds nothing, and takes its own marks in a text for words."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
