"""The page's token count: without torch, and the same as the engine's."""

import json
import shutil
from pathlib import Path

import pytest

from webui.errors import CheckpointError, InvalidRequest
from webui.tokens import TokenCounter

CHECKPOINT = Path(__file__).parent.parent / "models/checkpoints/easel-emoji"
TOKENIZER = CHECKPOINT / "tokenizer"


def used(prompt: str, folder: Path = CHECKPOINT, *, is_negative: bool = False) -> tuple[int, int]:
    count = TokenCounter().count(folder, prompt, steps=20, is_negative=is_negative)
    return count.used, count.room


def test_a_plain_prompt_takes_its_words() -> None:
    assert used("") == (0, 75)
    assert used("a red apple") == (3, 75)


def test_weights_comments_and_tags_take_nothing() -> None:
    assert used("a (red:1.3) apple # not this\n<lora:some thing:1>") == used("a red apple")


def test_the_step_and_the_part_that_take_most_are_counted() -> None:
    assert used("a [red:red green blue:0.5] apple") == used("a red green blue apple")
    assert used("a red apple AND a cat") == used("a red apple")
    assert used("a red apple AND a cat", is_negative=True)[0] == 6, "a negative prompt knows no AND"


def test_a_break_takes_the_rest_of_its_chunk() -> None:
    assert used("a BREAK a") == (76, 150)


def test_marks_of_the_tokenizer_are_plain_text() -> None:
    assert used("<|endoftext|>")[0] > 1


def test_a_folder_with_vocabulary_and_merges_counts_the_same(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_2").mkdir()  # a refiner has no other
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(TOKENIZER / name, tmp_path / "tokenizer_2" / name)
    text = "A  Red, (apple:1.2)! 사과 it's déjà ① 123 🍎"
    assert used(text, tmp_path) == used(text)


def test_a_folder_without_a_readable_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer"):
        used("a", tmp_path)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        used("a", tmp_path)


def test_a_prompt_too_long_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        used("a" * 40_000)


def test_a_single_file_reads_with_clip_s_own_words(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    assert used("a photograph of an astronaut riding a horse", file) == (8, 75)
    # CLIP's own ids of these words, as every tool that embeds OpenAI's vocabulary has them.
    assert list(TokenCounter()._words(file).ids("a photo of a cat")) == [320, 1125, 539, 320, 2368]


def test_an_embedding_takes_as_many_tokens_as_it_has_vectors() -> None:
    count = TokenCounter().count(CHECKPOINT, "a red sks-style apple", steps=20, embeddings={"sks-style": 8})
    assert count.used == 11
