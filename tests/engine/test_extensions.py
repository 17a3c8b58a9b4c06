"""Hooks at work on a tiny real checkpoint: what each can change, and that nothing else is harmed by one that fails."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from tests.engine.helpers import Signals, pictures, request, run
from tests.extensions.builder import AREA_EXAMPLE, HOOK_EXAMPLES, replace_in, shelf, trust, write
from webui.contract import Signal
from webui.engine.engine import create_engine
from webui.events import Cancelled, Done, Event, Image, Warning
from webui.extension import HOOKS

pytestmark = pytest.mark.torch

SOME = {"example": {"amount": 0.5}}


class Farm:
    """An engine with one extension, which is another one for each test."""

    def __init__(self, home: Path, models_dir: Path) -> None:
        self.home = home
        (home / "extensions").mkdir()
        self.shelf = shelf(home)
        self.engine = create_engine(models_dir, "cpu", 0, self.shelf)
        torch.set_num_threads(1)

    def plant(self, engine: str, name: str = "example", *, tags: str = "") -> Path:
        folder = write(self.home / "extensions" / name, engine=engine)
        if tags:
            replace_in(folder / "extension.toml", "tags = []", f'tags = ["{tags}"]')
        trust(self.home, name)
        return folder

    def draw(self, **values: object) -> list[Event]:
        return run(self.engine, request(**values))


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Farm:
    return Farm(tmp_path_factory.mktemp("farm"), models_dir)


def levels(events: list[Event], number: int = 0) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(pictures(events)[number]))).astype(int)


def warnings(events: list[Event]) -> list[str]:
    return [str(event.text) for event in events if isinstance(event, Warning)]


def infotext(events: list[Event]) -> str:
    return next(event.parameters for event in events if isinstance(event, Image))


def weights(farm: Farm) -> dict[str, torch.Tensor]:
    components = farm.engine._models.loaded
    assert components is not None
    return {name: value.clone() for name, value in components.unet.state_dict().items()}


def test_every_hook_is_documented_with_an_example():
    assert tuple(HOOK_EXAMPLES) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_the_documented_example_of_a_hook_does_what_it_says(hook: str, farm: Farm):
    farm.plant(HOOK_EXAMPLES[hook])
    plain, changed = farm.draw(), farm.draw(extensions=SOME)
    assert warnings(changed) == []
    done = changed[-1]
    assert isinstance(done, Done)
    assert f"example.{hook}" in done.timings
    EFFECTS[hook](plain, changed)


def test_the_documented_area_draws_another_prompt_into_its_half(farm: Farm):
    farm.plant(AREA_EXAMPLE)
    changed = farm.draw(extensions=SOME)
    assert warnings(changed) == []
    assert not np.array_equal(levels(farm.draw()), levels(changed))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("width // 2, height)", "width + 1, height)"), "the area (0, 0, 9, 8) in latents of 8×8"),
        (("torch.full((height, width // 2), self.options.amount)", "torch.full((height, width), 0.5)"),
         "an area whose share is not of its size"),
        (("self.options.amount", "2.0"), "an area whose share is not of its size, or not from 0 to 1"),
        (("conditioning.read(\"the dog\", None)", "None"), "an area without a conditioning"),
    ],
)  # fmt: skip
def test_an_area_that_cannot_be_is_refused(change: tuple[str, str], told: str, farm: Farm):
    farm.plant(AREA_EXAMPLE.replace(*change))
    events = farm.draw(extensions=SOME)
    assert told in warnings(events)[0]
    assert np.array_equal(levels(farm.draw()), levels(events))


def is_another_picture(plain: list[Event], changed: list[Event]) -> None:
    assert not np.array_equal(levels(plain), levels(changed))


def has_another_prompt(plain: list[Event], changed: list[Event]) -> None:
    is_another_picture(plain, changed)
    assert infotext(changed).startswith("the red cat, the dog\n")
    with Picture.open(io.BytesIO(pictures(changed)[0])) as opened:
        own = next(json.loads(text) for text in opened.text.values() if text.startswith("{"))  # type: ignore[attr-defined]
    assert own["prompt"] == "the red cat", "the lossless metadata tells what was asked for"
    assert own["extensions"] == SOME


def is_mirrored(plain: list[Event], changed: list[Event]) -> None:
    assert np.array_equal(levels(plain), levels(changed)[:, ::-1])


def tells_more(plain: list[Event], changed: list[Event]) -> None:
    assert np.array_equal(levels(plain), levels(changed))
    assert "Grain: 0.5" in infotext(changed)


EFFECTS: dict[str, Callable[[list[Event], list[Event]], None]] = {
    **dict.fromkeys(HOOKS, is_another_picture),
    "prepare": has_another_prompt,
    "after_decode": is_mirrored,
    "before_save": tells_more,
}


def test_an_extension_without_options_in_the_request_takes_no_part(farm: Farm):
    farm.plant("from webui.extension import EngineHooks\nclass Engine(EngineHooks):\n"
               "    def before_step(self, x, step): return x * 0")  # fmt: skip
    events = farm.draw()
    assert isinstance(events[-1], Done)
    assert not any("." in name for name in events[-1].timings)


def test_a_tag_of_its_kind_makes_it_take_part_and_is_given_to_it(farm: Farm):
    farm.plant(TAGGED, tags="grain")
    events = farm.draw(prompt="the red cat <grain:fine:0.5>")
    assert warnings(events) == ["fine 0.5"]
    assert "has no effect" not in "".join(warnings(events))


def test_each_picture_of_a_batch_gets_the_tags_of_its_own_words(farm: Farm):
    farm.plant(TAGGED, tags="grain")
    said = ["a cat <grain:fine:0.5>", "a cat", "a cat <grain:coarse:1>"]
    events = farm.draw(prompt="a cat {<grain:fine:0.5>|<grain:coarse:1>}", wordings={"prompt": said}, batch_size=3)
    heard = [event for event in events if isinstance(event, Image | Warning)]
    assert [event.picture if isinstance(event, Image) else str(event.text) for event in heard] == [
        "fine 0.5", 0, 1, "coarse 1", 2,
    ]  # fmt: skip


TAGGED = """
from webui.extension import EngineHooks, Sentence, nullcontext

class Engine(EngineHooks):
    def patch(self, components, tags):
        for tag in tags:
            self.context.warn(Sentence("{name} {value}", name=tag.name, value=tag.values[0]))
        return nullcontext()
"""


def test_weights_are_bit_identical_after_a_patch_also_when_the_job_is_cancelled(farm: Farm):
    farm.plant(HOOK_EXAMPLES["patch"])
    farm.draw()
    before = weights(farm)
    events = run(farm.engine, request(extensions=SOME, num_inference_steps=6), signals=Signals({(0, 2): Signal.CANCEL}))
    assert isinstance(events[-1], Cancelled)
    after = weights(farm)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_patched_text_encoder_encodes_the_prompt_anew_and_leaves_nothing_behind(farm: Farm):
    farm.plant(HOOK_EXAMPLES["patch"].replace("components.unet.conv_out.weight",
                                              "components.text_encoders[0].get_input_embeddings().weight"))  # fmt: skip
    before, changed, after = farm.draw(), farm.draw(extensions=SOME), farm.draw()
    assert warnings(changed) == []
    assert not np.array_equal(levels(before), levels(changed))
    assert np.array_equal(levels(before), levels(after))


def test_a_patch_stays_from_picture_to_picture(farm: Farm):
    farm.plant(TAGGED.replace('self.context.warn(Sentence("{name} {value}", name=tag.name, value=tag.values[0]))',
                              'self.context.cache["n"] = self.context.cache.get("n", 0) + 1')
               + "    def before_save(self, image, picture):\n"
                 "        return {'Entered': str(self.context.cache['n'])}\n", tags="grain")  # fmt: skip
    events = farm.draw(prompt="the red cat <grain:fine>", batch_count=2)
    told = [event.parameters for event in events if isinstance(event, Image)]
    assert [("Entered: 1" in text) for text in told] == [True, True]


BROKEN = {
    "raises": ("before_step", "raise KeyError('x')", "its hook before_step ended with KeyError: 'x'"),
    "exits": ("after_step", "import sys; sys.exit(3)", "its hook after_step ended with sys.exit(3)"),
    "gives nothing": ("after_step", "return None", "its hook after_step gave NoneType instead of a tensor"),
    "gives another shape": ("before_step", "return args[0][:, :1]", "gave the shape (1, 1, 8, 8) instead of"),
    "gives no number": ("guidance", "return args[0].guided * float('nan')", "gave what is not a number"),
    "gives no picture": ("after_decode", "return 3", "gave no picture in RGB"),
    "changes the kind": ("prepare", "from webui.extension import replace; return replace(args[0], batch_count=2)",
                         "gave another kind of request"),
    "has an own refusal": ("before_step", "from webui.extension import UserError; raise UserError('No film left.')",
                           "switched off for this job: No film left."),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_an_extension_that_fails_is_switched_off_and_the_picture_is_made_without_it(fault: str, farm: Farm):
    hook, body, told = BROKEN[fault]
    farm.plant("from webui.extension import EngineHooks\nclass Engine(EngineHooks):\n"
               f"    def {hook}(self, *args):\n        {body}\n")  # fmt: skip
    plain, events = farm.draw(), farm.draw(extensions=SOME)
    assert isinstance(events[-1], Done)
    failed = [event for event in events if isinstance(event, Warning)]
    assert [event.extension for event in failed] == ["example"], "told once, by name"
    assert told in str(failed[0].text)
    assert np.array_equal(levels(plain), levels(events))


def test_a_patch_that_is_not_undone_costs_the_checkpoint_in_memory_and_not_the_next_picture(farm: Farm):
    farm.plant(HOOK_EXAMPLES["patch"].replace("weight.copy_(original)", "raise RuntimeError('lost')"))
    plain = farm.draw()
    broken = farm.draw(extensions=SOME)
    assert "its hook patch ended with RuntimeError: lost" in warnings(broken)[0]
    assert np.array_equal(levels(plain), levels(farm.draw()))


def test_an_extension_that_is_not_there_is_named_and_the_picture_is_made(farm: Farm):
    events = farm.draw(extensions={"gone": {"amount": 1.0}})
    assert isinstance(events[-1], Done)
    assert warnings(events) == ["The extension 'gone' is not enabled here: it had no part in the picture."]


def test_a_changed_extension_is_imported_anew(farm: Farm):
    farm.plant(HOOK_EXAMPLES["before_save"])
    assert "Grain: 0.5" in infotext(farm.draw(extensions=SOME))
    farm.plant(HOOK_EXAMPLES["before_save"].replace('"Grain"', '"Sand"'))
    assert "Sand: 0.5" in infotext(farm.draw(extensions=SOME))


def test_two_extensions_work_on_what_the_other_has_made(farm: Farm):
    farm.plant(HOOK_EXAMPLES["after_decode"])
    farm.plant(HOOK_EXAMPLES["after_decode"], "second")
    plain, twice = farm.draw(), farm.draw(extensions={**SOME, "second": {"amount": 1.0}})
    assert np.array_equal(levels(plain), levels(twice))
