"""The words of OpenAI's CLIP, which every Stable Diffusion of one file reads with: shipped here, fetched from nowhere.

Radford et al. 2021 (arXiv:2103.00020), section 2.4: byte pairs over lower case text. Plain data, no tokenizer.
"""

import gzip
from pathlib import Path

MERGES = Path(__file__).with_name("clip_merges.txt.gz")
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def clip_merges() -> list[tuple[str, str]]:
    """The byte pairs in the order in which they are joined."""
    lines = gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()
    pairs = (line.split(" ") for line in lines)
    return [(left, right) for left, right in pairs]


def clip_vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Every token and its id: the bytes, the bytes that end a word, the joined pairs, the two marks."""
    letters = byte_letters()
    joined = (left + right for left, right in merges)
    tokens = [*letters, *(letter + WORD_END for letter in letters), *joined, START, END]
    return {token: number for number, token in enumerate(tokens)}


def byte_letters() -> list[str]:
    """A printable letter for each of the 256 bytes, those that are printable themselves first (as GPT-2 has it)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(others)]
