"""How many tokens a prompt takes with a checkpoint's own tokenizer: what the page counts while somebody types.

The tokenizer is read by the `tokenizers` library, which the engine's CLIPTokenizer stands on too, so the server counts
without torch what the engine encodes. Chunks and weights are `webui.prompt`'s.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from webui.errors import CheckpointError
from webui.prompt.chunks import COMMA_BACKTRACK, TokenCount, Vocabulary
from webui.prompt.plan import finish, plan
from webui.prompt.schedule import clock

KEPT = 4
"""Tokenizers of so many checkpoints; each takes a few MB."""

PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP's tokenizer splits a text into before it looks for pairs (Radford et al. 2021, arXiv:2103.00020)."""


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
        self._kept: OrderedDict[object, Vocabulary] = OrderedDict()
        self._lock = threading.Lock()

    def count(
        self, folder: Path, prompt: str, *, steps: int, is_negative: bool = False, emphasis: str = "Original"
    ) -> TokenCount:
        """Tokens of `prompt`, styles applied, with the tokenizer in `folder`: at the step and in the part that takes
        most. Raises `CheckpointError` for an unreadable tokenizer, `InvalidRequest` for an impossible prompt.
        """
        understood = plan(finish(prompt, is_negative=is_negative), clock(steps), is_negative=is_negative,
                          emphasis=emphasis)  # fmt: skip
        return understood.count(self._vocabulary(folder), comma_backtrack=COMMA_BACKTRACK)

    def _vocabulary(self, folder: Path) -> Vocabulary:
        file = next((folder / name for name in ("tokenizer.json", "vocab.json") if (folder / name).is_file()), None)
        if file is None:
            raise CheckpointError("{folder} holds no tokenizer, so nothing can be counted.", folder=folder.name)
        key = file, file.stat().st_mtime_ns
        with self._lock:
            if key not in self._kept:
                self._kept[key] = Vocabulary(_Words(_read(file)))
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def _read(file: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(file)) if file.name == "tokenizer.json" else _of_vocabulary(file.parent)
    except Exception as error:  # tokenizers, written in Rust, raises bare Exception for any fault of a file
        raise CheckpointError(
            "{part}/ cannot be loaded ({reason}). Copy the folder again.", part="tokenizer", reason=str(error)[:200]
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _of_vocabulary(folder: Path) -> Tokenizer:
    """CLIP's tokenizer from vocab.json and merges.txt, as older folders have it."""
    pairs = models.BPE.from_file(
        str(folder / "vocab.json"), str(folder / "merges.txt"), end_of_word_suffix="</w>", unk_token="<|endoftext|>"
    )
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
    return tokenizer
