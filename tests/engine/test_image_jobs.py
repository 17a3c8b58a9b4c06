"""Jobs that begin with a picture: img2img and inpainting on a real tiny checkpoint."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.engine.helpers import ALL_SAMPLERS
from webui.contract import Job, Signal
from webui.errors import InvalidRequest
from webui.events import Checkpoint, Done, Failed, Paused, Progress
from webui.events import Image as PictureEvent
from webui.requests import ImageToImage, Inpaint

pytestmark = pytest.mark.torch

PICTURE, MASK = "a" * 32, "b" * 32
SIZE = (64, 64)
PAINTED = (16, 24, 40, 48)


def noise(size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def mask(size: tuple[int, int] = SIZE, box: tuple[int, int, int, int] = PAINTED) -> Image.Image:
    grey = Image.new("L", size)
    ImageDraw.Draw(grey).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return grey


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def request(kind: type[ImageToImage] = Inpaint, **values: Any) -> ImageToImage:
    usual: dict[str, Any] = {
        "prompt": "the red cat", "checkpoint": "epsilon", "width": 64, "height": 64, "num_inference_steps": 4,
        "seed": 11, "guidance_scale": 3.0, "preview": "Off", "image": PICTURE, "sampler": "Euler a",
    }  # fmt: skip
    return kind(**(usual | ({"mask": MASK} if kind is Inpaint else {}) | values))


def events(engine: Any, asked: ImageToImage, picture: Image.Image, painted: Image.Image, **job: Any) -> list[Any]:
    inputs = {PICTURE: png(picture), MASK: png(painted)}
    signal = job.pop("signal", lambda: None)
    return list(engine.run(Job(id="job", request=asked, inputs=inputs, **job), signal))


def drawn(
    engine: Any, asked: ImageToImage, picture: Image.Image | None = None, painted: Image.Image | None = None
) -> list[Image.Image]:
    """The finished pictures."""
    told = events(engine, asked, picture or noise(), painted or mask())
    assert isinstance(told[-1], Done), told[-1]
    return [Image.open(io.BytesIO(event.png)).convert("RGB") for event in told if isinstance(event, PictureEvent)]


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("strength", "steps"), [(0.0, 1), (0.5, 6), (0.75, 8), (1.0, 10)])
def test_strength_says_how_many_of_the_steps_are_made(engine: Any, strength: float, steps: int) -> None:
    asked = request(ImageToImage, strength=strength, num_inference_steps=10)
    told = events(engine, asked, noise(), mask())
    totals = {event.total for event in told if isinstance(event, Progress) and event.phase == "sampling"}
    assert totals == {steps}
    assert sum(isinstance(event, Progress) and event.phase == "sampling" for event in told) == steps


def test_more_strength_leaves_less_of_the_picture(engine: Any) -> None:
    def difference(strength: float) -> float:
        """Between what becomes of two pictures under the same noise."""
        one, other = (
            np.asarray(drawn(engine, request(ImageToImage, strength=strength, guidance_scale=1.0), picture)[0], float)
            for picture in (noise(), Image.new("RGB", SIZE, "white"))
        )
        return float(abs(one - other).mean())

    assert difference(0.0) > difference(0.6) > difference(1.0)


def test_picture_and_mask_count(engine: Any) -> None:
    asked = request()
    first = drawn(engine, asked)[0]
    assert same(first, drawn(engine, asked)[0])
    assert not same(first, drawn(engine, asked, Image.new("RGB", SIZE, "white"))[0])
    assert not same(first, drawn(engine, asked, painted=mask(box=(0, 0, 32, 32)))[0])
    assert not same(first, drawn(engine, request(mask_mode="Inpaint not masked"))[0])


@pytest.mark.parametrize("sampler", ALL_SAMPLERS)
@pytest.mark.parametrize("area", ["Whole picture", "Only masked"])
def test_with_the_rest_untouched_no_pixel_of_it_changes(engine: Any, sampler: str, area: str) -> None:
    asked = request(sampler=sampler, inpaint_area=area, keep_untouched=True, padding=8)
    result = np.asarray(drawn(engine, asked)[0])
    outside = np.asarray(mask()) == 0
    assert np.array_equal(result[outside], np.asarray(noise())[outside])
    assert (result[~outside] != np.asarray(noise())[~outside]).mean() > 0.5


def test_without_it_only_a_soft_edge_changes(engine: Any) -> None:
    result = np.asarray(drawn(engine, request(mask_blur=4))[0])
    far = np.ones(SIZE, bool)
    far[24 - 10 : 48 + 10, 16 - 10 : 40 + 10] = False
    assert np.array_equal(result[far], np.asarray(noise())[far])


def test_only_masked_gives_a_picture_of_the_first_ones_size(engine: Any) -> None:
    large = noise((200, 120))
    asked = request(inpaint_area="Only masked", padding=4, keep_untouched=True)
    (result,) = drawn(engine, asked, large, mask((200, 120), (150, 80, 190, 110)))
    assert result.size == (200, 120)
    (whole,) = drawn(engine, replace(asked, inpaint_area="Whole picture"), large, mask((200, 120)))
    assert whole.size == SIZE


def test_a_black_mask_changes_nothing(engine: Any) -> None:
    for area in ("Whole picture", "Only masked"):
        assert same(drawn(engine, request(inpaint_area=area), painted=Image.new("L", SIZE))[0], noise())


def test_every_content_is_another_beginning(engine: Any) -> None:
    contents = ("fill", "original", "latent noise", "latent nothing")
    pictures = [drawn(engine, request(masked_content=content, strength=0.5))[0].tobytes() for content in contents]
    assert len(set(pictures)) == len(contents)


def test_every_resize_mode_gives_the_size_of_the_result(engine: Any) -> None:
    modes = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
    wide = noise((100, 60))
    pictures = [drawn(engine, request(ImageToImage, resize_mode=mode), wide)[0] for mode in modes]
    assert {picture.size for picture in pictures} == {SIZE}
    assert len({picture.tobytes() for picture in pictures}) == len(modes)


def test_a_picture_of_a_batch_is_that_of_its_seed_alone(engine: Any) -> None:
    together = drawn(engine, request(batch_count=3, masked_content="latent noise"))
    assert same(together[2], drawn(engine, request(seed=13, masked_content="latent noise"))[0])


def test_a_job_that_was_paused_ends_with_the_same_picture(engine: Any) -> None:
    asked = request(num_inference_steps=6, strength=0.9)
    signals = iter([None, None, Signal.PAUSE])
    told = events(engine, asked, noise(), mask(), signal=lambda: next(signals))
    assert isinstance(told[-1], Paused)
    state = [event for event in told if isinstance(event, Checkpoint)][-1].state
    rest = events(engine, asked, noise(), mask(), state=state)
    steps = [event.step for event in rest if isinstance(event, Progress) and event.phase == "sampling"]
    assert steps[0] > 1, "what was done is not done again"
    (resumed,) = (Image.open(io.BytesIO(event.png)) for event in rest if isinstance(event, PictureEvent))
    assert same(resumed.convert("RGB"), drawn(engine, asked)[0])


def test_a_mask_of_another_size_is_refused_in_words(engine: Any) -> None:
    told = events(engine, request(), noise(), mask((64, 32)))
    assert isinstance(told[-1], Failed)
    assert "64×32" in str(told[-1].text)


def test_what_is_kept_fits_at_every_step() -> None:
    import torch

    from webui.engine.beginning import Beginning

    latents, kept = torch.randn(1, 4, 8, 8), torch.zeros(1, 1, 8, 8)
    kept[..., 2:5, 2:5] = 1
    beginning = Beginning(latents, kept)

    class Model:
        is_full_precision = True

        def __call__(self, x: Any, sigma: float) -> Any:
            return torch.zeros_like(x)

        def to_full_precision(self) -> None: ...

    estimate = beginning.guard(Model())(torch.randn(2, 4, 8, 8), 3.0)
    assert torch.equal(estimate * kept, torch.zeros(2, 4, 8, 8))
    assert torch.equal(estimate * (1 - kept), (latents * (1 - kept)).expand(2, -1, -1, -1))


@pytest.mark.parametrize("kind", [ImageToImage, Inpaint])
def test_a_branch_goes_on_from_steps_with_the_same_picture_and_mask(engine: Any, kind: type[ImageToImage]) -> None:
    whole = drawn(engine, request(kind))[0]
    assert same(drawn(engine, request(kind, branch_step=2))[0], whole)
    changed = {"prompt": "a blue dog", "branch_step": 2, "branch_from": {"prompt": "the red cat"}}
    assert not same(drawn(engine, request(kind, **changed))[0], whole)
    with pytest.raises(InvalidRequest, match="Denoising strength"):
        request(kind, branch_step=2, branch_from={"strength": 0.5})
