"""Prompts to conditioning: weights, long prompts, BREAK, schedules, AND, clip skip."""

from typing import Any

import pytest
import torch

from webui.engine.text import PlannedPrompts, PromptEncoder, emphasised
from webui.prompt.plan import plan
from webui.prompt.schedule import clock
from webui.prompt.weights import sections

pytestmark = pytest.mark.torch

STEPS = 8


@pytest.fixture(scope="module")
def encoder(engine: Any) -> PromptEncoder:
    encoder: PromptEncoder = engine._models.get(engine._library.find("epsilon")).prompts
    return encoder


def encode(encoder: PromptEncoder, text: str, **options: Any) -> torch.Tensor:
    return encoder.encode(sections(text), **options).hidden


def planned(encoder: PromptEncoder, prompt: str, negative: str | None = "", **options: Any) -> PlannedPrompts:
    opposite = None if negative is None else plan(negative, clock(STEPS), is_negative=True)
    return PlannedPrompts(encoder, plan(prompt, clock(STEPS)), opposite, **options)


def test_a_weight_of_one_changes_no_bit(encoder: PromptEncoder) -> None:
    assert torch.equal(encode(encoder, "the red cat"), encode(encoder, "the (red:1.0) cat"))


def test_a_weighted_word_counts_more_and_the_mean_stays(encoder: PromptEncoder) -> None:
    plain, weighted = encode(encoder, "the red cat"), encode(encoder, "the (red:1.5) cat")
    assert not torch.allclose(plain, weighted)
    assert torch.isclose(plain.mean(), weighted.mean(), rtol=1e-4)
    loud = encode(encoder, "the (red:1.5) cat", emphasis="No norm")
    assert torch.allclose(loud[0, 2], plain[0, 2] * 1.5)
    assert torch.equal(loud[0, 1], plain[0, 1])
    assert torch.equal(encode(encoder, "the (red:1.5) cat", emphasis="Ignore"), plain)


def test_emphasis_is_of_one_chunk_and_never_of_its_neighbours(encoder: PromptEncoder) -> None:
    hidden, weights = torch.randn(2, 77, 8), torch.ones(2, 77)
    weights[0, 3] = 2.0
    both = emphasised(hidden, weights, "Original")
    assert torch.allclose(both[1], hidden[1])
    assert torch.allclose(both[:1], emphasised(hidden[:1], weights[:1], "Original"))


def test_a_long_prompt_takes_more_chunks_and_nothing_is_left_out(encoder: PromptEncoder) -> None:
    words = "cat " * 80
    long = encode(encoder, words)
    assert long.shape[1] == 154
    assert not torch.equal(long, encode(encoder, words + "red"))


def test_break_begins_a_new_chunk(encoder: PromptEncoder) -> None:
    both = encode(encoder, "the cat BREAK the red")
    assert torch.allclose(both[:, :77], encode(encoder, "the cat"), atol=1e-5)
    assert torch.allclose(both[:, 77:], encode(encoder, "the red"), atol=1e-5)


def test_prompt_and_negative_prompt_are_made_equally_long(encoder: PromptEncoder) -> None:
    conditioning = planned(encoder, "cat " * 80, "red").at(1, 2)
    assert conditioning.uncond is not None
    assert conditioning.conds[0].hidden.shape == conditioning.uncond.hidden.shape == (2, 154, 16)
    assert torch.allclose(conditioning.uncond.hidden[:1, 77:], encode(encoder, ""), atol=1e-5)


def test_an_edited_prompt_says_another_thing_from_its_step_on(encoder: PromptEncoder) -> None:
    prompts = planned(encoder, "the [cat:red:0.5]", None)
    said = [prompts.at(step, 1).conds[0].hidden for step in range(1, STEPS + 1)]
    assert all(torch.equal(each, encode(encoder, "the cat")) for each in said[:4])
    assert all(torch.equal(each, encode(encoder, "the red")) for each in said[4:])
    assert prompts.at(1, 1).uncond is None


def test_and_joins_prompts_with_their_weights(encoder: PromptEncoder) -> None:
    conditioning = planned(encoder, "the cat AND the red :0.5").at(1, 1)
    assert conditioning.weights == (1.0, 0.5)
    assert [cond.hidden.shape for cond in conditioning.conds] == [(1, 77, 16)] * 2


def test_clip_skip_takes_an_earlier_layer(encoder: PromptEncoder) -> None:
    layers = [encode(encoder, "the red cat", clip_skip=skip) for skip in (1, 2)]
    assert not torch.allclose(*layers)
    model = encoder._towers[0].encoder
    output = model(torch.tensor([encoder._tokenizer("the red cat", padding="max_length", max_length=77).input_ids]),
                   output_hidden_states=True)  # fmt: skip
    assert torch.allclose(layers[1], model.final_layer_norm(output.hidden_states[-2]))


def test_marks_of_the_tokenizer_are_words_like_any_others(encoder: PromptEncoder) -> None:
    ids = encoder.vocabulary.tokenizer.ids("cat <|endoftext|> red")
    assert encoder._tokenizer.eos_token_id not in ids


def test_the_last_encodings_are_kept(encoder: PromptEncoder) -> None:
    first = encode(encoder, "the red cat")
    assert encode(encoder, "the red cat") is first
    for number in range(70):
        encode(encoder, f"cat {number}")
    again = encode(encoder, "the red cat")
    assert again is not first
    assert torch.equal(again, first)
