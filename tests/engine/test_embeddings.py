"""Textual inversion: files in every format are found by their names, and their vectors stand where the name stood."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.engine.helpers import CPU, engine_of, passport_of, pictures, request, run
from tests.tiny import build_tiny_sdxl
from webui.engine.embeddings import EmbeddingShelf, read_embedding
from webui.engine.loading import load_checkpoint
from webui.engine.text import PlannedPrompts, PromptEncoder
from webui.events import Warning
from webui.metadata.infotext import generation_parameters
from webui.prompt.plan import plan
from webui.prompt.schedule import clock
from webui.prompt.weights import sections

pytestmark = pytest.mark.torch

ROWS = torch.randn(3, 16, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    (tmp_path / "embeddings").mkdir()
    return tmp_path / "embeddings"


@pytest.fixture(scope="module")
def epsilon(models_dir: Path) -> Path:
    return models_dir / "checkpoints" / "epsilon"


def encoder_of(checkpoint: Path, shelf: Path) -> PromptEncoder:
    return load_checkpoint(passport_of(checkpoint), CPU, "SDPA", EmbeddingShelf(shelf)).prompts


def planned(encoder: PromptEncoder, prompt: str) -> PlannedPrompts:
    return PlannedPrompts(encoder, plan(prompt, clock(4)), None)


def write(path: Path, format_: str, rows: torch.Tensor = ROWS) -> Path:
    """`rows` as other tools write them."""
    if format_ == "A1111 pt":
        torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": rows}, "name": "x", "step": 5}, path)
    elif format_ == "old pt":
        torch.save({"string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(rows)})}, path)
    elif format_ == "diffusers bin":
        torch.save({"<style>": rows}, path)
    elif format_ == "one vector":
        save_file({"<style>": rows[0]}, path)
    else:
        save_file({"emb_params": rows}, path)
    return path


FORMATS = {"A1111 pt": ".pt", "old pt": ".pt", "diffusers bin": ".bin", "emb_params": ".safetensors", "short": ".sft"}


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_read(format_: str, shelf: Path) -> None:
    embedding = read_embedding(write(shelf / f"style{FORMATS[format_]}", format_))
    assert (embedding.name, embedding.vectors, embedding.problem) == ("style", 3, None)
    assert torch.equal(embedding.tensors[""], ROWS)
    assert len(embedding.hash) == 12


def test_a_single_vector_is_one_row(shelf: Path) -> None:
    assert read_embedding(write(shelf / "one.safetensors", "one vector")).tensors[""].shape == (1, 16)


def test_its_vectors_stand_where_its_name_stood(epsilon: Path, shelf: Path) -> None:
    """The vectors of known words under another name say the same as the words."""
    encoder = encoder_of(epsilon, shelf)
    table = encoder._towers[0].body.embeddings.token_embedding.weight
    ids = encoder.vocabulary.tokenizer.ids("red cat")
    write(shelf / "zkz.safetensors", "emb_params", table[list(ids)].clone())
    named = planned(encoder, "the zkz and the dog")
    said = planned(encoder_of(epsilon, shelf), "the red cat and the dog")
    assert torch.equal(named.at(1, 1).conds[0].hidden, said.at(1, 1).conds[0].hidden)
    assert list(named.embeddings) == ["zkz"]


@pytest.mark.parametrize("prompt", ["a zkz", "a ZKZ", "a (zkz:1.2), dog", "cat AND zkz", "[cat:zkz:2]"])
def test_a_name_is_found_wherever_it_stands(prompt: str, epsilon: Path, shelf: Path) -> None:
    write(shelf / "Zkz.safetensors", "emb_params")
    assert list(planned(encoder_of(epsilon, shelf), prompt).embeddings) == ["Zkz"]


@pytest.mark.parametrize("prompt", ["a zkzq", "a zk z", "a cat"])
def test_a_part_of_a_word_is_no_name(prompt: str, epsilon: Path, shelf: Path) -> None:
    write(shelf / "zkz.safetensors", "emb_params")
    assert planned(encoder_of(epsilon, shelf), prompt).embeddings == {}


def test_the_longest_name_counts_and_subfolders_are_looked_into(epsilon: Path, shelf: Path) -> None:
    (shelf / "mine").mkdir()
    write(shelf / "mine" / "zkz-two.safetensors", "emb_params")
    write(shelf / "zkz.safetensors", "emb_params")
    assert list(planned(encoder_of(epsilon, shelf), "a zkz-two").embeddings) == ["zkz-two"]


def test_a_long_embedding_is_never_split_between_chunks(epsilon: Path, shelf: Path) -> None:
    write(shelf / "zkz.safetensors", "emb_params", torch.randn(40, 16))
    assert planned(encoder_of(epsilon, shelf), "zkz zkz").at(1, 1).conds[0].hidden.shape[1] == 154


def test_a_file_that_changes_is_read_again(epsilon: Path, shelf: Path) -> None:
    encoder = encoder_of(epsilon, shelf)
    write(shelf / "zkz.safetensors", "emb_params")
    before = planned(encoder, "a zkz").at(1, 1).conds[0].hidden
    write(shelf / "zkz.safetensors", "emb_params", ROWS[:2] * 2)
    assert not torch.equal(planned(encoder, "a zkz").at(1, 1).conds[0].hidden, before)
    (shelf / "zkz.safetensors").unlink()
    assert planned(encoder, "a zkz").embeddings == {}


def test_only_what_a_prompt_may_name_is_read(epsilon: Path, shelf: Path) -> None:
    write(shelf / "other.safetensors", "emb_params")
    known = EmbeddingShelf(shelf)
    assert known.named_in(["a cat"]) == {}
    assert known._read == {}


def test_sdxl_takes_a_pair_of_vectors_and_nothing_else(shelf: Path, tmp_path: Path) -> None:
    save_file({"clip_l": torch.randn(2, 16), "clip_g": torch.randn(2, 24)}, shelf / "pair.safetensors")
    write(shelf / "single.safetensors", "emb_params")
    encoder = encoder_of(build_tiny_sdxl(tmp_path / "sdxl"), shelf)
    prompts = planned(encoder, "a pair of single cats")
    assert list(prompts.embeddings) == ["pair"]
    assert list(prompts.unfit_embeddings) == ["single"]
    plain = encoder.encode(sections("a"))
    assert prompts.at(1, 1).conds[0].hidden.shape == plain.hidden.shape


BROKEN: dict[str, Any] = {
    "wide": {"emb_params": torch.ones(2, 24)},
    "nan": {"emb_params": torch.full((2, 16), torch.nan)},
    "long": {"emb_params": torch.ones(76, 16)},
    "lora": {"lora.up": torch.ones(2, 16), "lora.down": torch.ones(16, 2)},
}
TOLD = {
    "wide": "24 features and this checkpoint's have 16",
    "nan": "not numbers",
    "long": "76 vectors",
    "lora": "no format of embeddings",
    "page": "HTML page",
}


@pytest.mark.parametrize("name", TOLD)
def test_one_that_cannot_be_used_is_a_warning_and_no_failure(name: str, epsilon: Path, shelf: Path) -> None:
    if name in BROKEN:
        save_file(BROKEN[name], shelf / f"{name}.safetensors")
    else:
        (shelf / f"{name}.safetensors").write_text("<html>")
    events = run(engine_of(epsilon, shelf), request(prompt=f"a cat in {name}"))
    told = [str(event.text) for event in events if isinstance(event, Warning)]
    assert len(told) == 1
    assert f"'{name}'" in told[0]
    assert TOLD[name] in told[0]
    assert 0 in pictures(events)


def test_what_was_used_stands_in_the_pictures_text(epsilon: Path, shelf: Path) -> None:
    path = write(shelf / "zkz.safetensors", "emb_params")
    events = run(engine_of(epsilon, shelf), request(prompt="a zkz", negative_prompt="cat"))
    texts = [event.parameters for event in events if event.kind == "image"]  # type: ignore[attr-defined]
    assert generation_parameters(texts[0])["TI hashes"] == f"zkz: {read_embedding(path).hash}"
