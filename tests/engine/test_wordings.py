"""Wildcards in jobs: every picture has its own words, alone as in a batch, and tells them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from tests.engine.helpers import Signals, pictures, request, run
from webui.contract import Engine, Signal
from webui.engine.beginning import Beginning
from webui.engine.extensions import Runner
from webui.engine.rows import Row, Rows
from webui.events import Checkpoint, Event, Failed, Image
from webui.metadata import read
from webui.metadata.webuis import of_infotext
from webui.prompts import PromptDesk
from webui.requests import TextToImage, build, resolve

pytestmark = pytest.mark.torch

TEMPLATE = {"prompt": "{the|a} __animal__", "negative_prompt": "{red|blue|dark}", "seed": 3}
HIRES = {"hires": True, "hires_scale": 1.5, "hires_strength": 0.5, "hires_prompt": "__animal__ {x|y}"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> PromptDesk:
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "animal.txt").write_text("cat\ndog\n__big__\n")
    (folder / "big.txt").write_text("red cat\nblue dog\n")
    return PromptDesk(folder / "styles.csv", folder)


def told(events: list[Event]) -> list[str]:
    return [event.parameters for event in events if isinstance(event, Image)]


def levels(png: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(png)))


@pytest.mark.parametrize("more", [{}, HIRES], ids=["one pass", "hires"])
def test_a_picture_of_a_batch_is_its_seed_alone_with_the_same_template(
    engine: Engine, desk: PromptDesk, more: dict[str, Any]
) -> None:
    batch = desk.worded(request(**TEMPLATE, **more, batch_size=2, batch_count=2))
    assert len(set(batch.wordings["prompt"])) > 1
    events = run(engine, batch)
    for picture, png in pictures(events).items():
        (alone,) = pictures(run(engine, desk.worded(request(**{**TEMPLATE, "seed": 3 + picture}, **more)))).values()
        assert alone == png


def test_a_picture_tells_its_words_and_its_template_and_comes_back(engine: Engine, desk: PromptDesk) -> None:
    batch = desk.worded(request(**TEMPLATE, **HIRES, batch_size=3))
    events = run(engine, batch)
    for picture, png in pictures(events).items():
        words = batch.wording(picture)
        assert told(events)[picture].startswith(f"{words['prompt']}\nNegative prompt: {words['negative_prompt']}\n")
        found = read(png)
        assert found.unmapped == ()
        assert {name: found.values[name] for name in words} == words
        assert found.fields["Template of prompt"] == TEMPLATE["prompt"]
        for values in (found.values, of_infotext(found.parameters).values):
            again = build("txt2img", {**values, "checkpoint": "epsilon", "preview": "Off"})
            assert isinstance(again, TextToImage)
            (made,) = pictures(run(engine, PromptDesk(Path("none"), Path("none")).worded(again))).values()
            assert np.array_equal(levels(made), levels(png))


def test_going_on_in_the_middle_of_a_batch_keeps_to_the_words(engine: Engine, desk: PromptDesk) -> None:
    wanted = desk.worded(request(**TEMPLATE, batch_size=3))
    whole = pictures(run(engine, wanted))
    first = run(engine, wanted, signals=Signals({(1, 2): Signal.PAUSE}))
    state = [event.state for event in first if isinstance(event, Checkpoint)][-1]
    rest = pictures(run(engine, wanted, state=state))
    assert rest == {number: png for number, png in whole.items() if number}


def test_skipping_goes_on_with_the_words_of_the_next_batch(engine: Engine, desk: PromptDesk) -> None:
    wanted = desk.worded(request(**TEMPLATE, batch_size=2, batch_count=2))
    whole = pictures(run(engine, wanted))
    left = pictures(run(engine, wanted, signals=Signals({(0, 2): Signal.SKIP})))
    assert left == {number: png for number, png in whole.items() if number > 1}


def test_what_is_wrong_with_one_wording_comes_after_the_pictures_before(engine: Engine) -> None:
    endless = " AND ".join("x" * 70)
    events = run(engine, request(batch_size=2, wordings={"prompt": ["a cat", endless]}))
    assert list(pictures(events)) == [0]
    assert isinstance(events[-1], Failed)


def test_only_pictures_of_the_same_words_are_made_together() -> None:
    said = ["a <lora:x:1>", "a <lora:x:1>", "a <lora:y:1>", "a <lora:x:1>"]
    wanted = request(batch_size=4, wordings={"prompt": said})
    rows = Rows(None, wanted, None, None, None, Runner(), lambda told: None)  # type: ignore[arg-type]
    assert [rows.alike(picture, 4) for picture in range(4)] == [(0, 1), (1,), (2,), (3,)]
    plain = Rows(None, request(batch_size=4), None, None, None, Runner(), lambda told: None)  # type: ignore[arg-type]
    assert plain.alike(0, 4) == (0, 1, 2, 3)


def test_a_branch_goes_on_from_the_words_that_its_origins_seed_drew(engine: Engine, desk: PromptDesk) -> None:
    origin = desk.worded(request(**TEMPLATE))
    told_origin = {name: value for name, value in TEMPLATE.items() if name != "seed"} | {"seed": 3}
    same = desk.worded(resolve(request(**TEMPLATE, branch_step=2, branch_from=told_origin)))
    assert np.array_equal(levels(pictures(run(engine, same))[0]), levels(pictures(run(engine, origin))[0]))
    other = desk.worded(resolve(request(**{**TEMPLATE, "seed": 8}, branch_step=2, branch_from=told_origin)))
    assert other.wording(0) != origin.wording(0)
    assert other.branch_from["prompt"] == origin.wording(0)["prompt"]
    made = pictures(run(engine, other))[0]
    again = build("txt2img", {**of_infotext(told(run(engine, other))[0]).values, "preview": "Off"})
    assert isinstance(again, TextToImage)
    assert np.array_equal(levels(pictures(run(engine, again))[0]), levels(made))


def test_a_branch_keeps_the_words_of_its_beginning(engine: Engine) -> None:
    first = {"prompt": "a red cat", "seed": 3}
    branch = {"branch_step": 2, "branch_from": {"prompt": "a red cat"}, "seed": 3}
    whole = run(engine, request(**branch, prompt="a {blue|dark} dog", wordings={"prompt": ["a blue dog"]}))
    (png,) = pictures(whole).values()
    (plain,) = pictures(run(engine, request(**branch, prompt="a blue dog"))).values()
    assert np.array_equal(levels(png), levels(plain))
    assert not np.array_equal(levels(png), levels(pictures(run(engine, request(**first)))[0]))
    found = read(png)
    assert found.unmapped == ()
    assert found.values["branch_from"] == {"prompt": "a red cat"}


@dataclass(frozen=True)
class SeedsOnly:
    """Of a pass, what tells whether its pictures take up other seeds."""

    first: int
    is_shared: bool
    continues: bool

    def seeds(self, picture: int) -> int:
        return self.first + (0 if self.is_shared else picture)


@pytest.mark.parametrize(("seed", "together"), [(5, [(0,), (1, 2), (2,)]), (9, [(0, 1, 2), (1, 2), (2,)])])
def test_pictures_of_a_branch_that_keep_their_seed_are_made_by_themselves(
    seed: int, together: list[tuple[int, ...]]
) -> None:
    wanted = request(batch_size=3, seed=seed, branch_step=1, branch_from={"seed": 5})
    rows = Rows(None, wanted, None, None, None, Runner(), lambda told: None)  # type: ignore[arg-type]
    passes = (SeedsOnly(5, True, False), SeedsOnly(seed, False, True))
    row = Row(request=wanted, beginning=Beginning(), passes=passes, used={})  # type: ignore[arg-type]
    rows._made = {}, row
    assert [rows.alike(picture, 3) for picture in range(3)] == together
