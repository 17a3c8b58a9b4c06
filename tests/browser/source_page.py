"""The img2img tab of an open page, driven as a person drives it: pictures, canvas, Generate."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.easel_page import LONG, TICK_MS, EaselPage, is_submission, settle

Pixels = NDArray[np.uint8]
Point = tuple[float, float]

BYTES = """name => {
  const layer = document.querySelector('easel-canvas')[name];
  const bytes = new Uint8Array(layer.data.buffer);
  let text = '';
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return [layer.width, layer.height, btoa(text)];
}"""


class SourcePage:
    def __init__(self, easel: EaselPage) -> None:
        self.easel = easel
        self.page = easel.page
        self.page.locator("#tab_img2img-button").click()
        self.canvas: Locator = self.page.locator("easel-source easel-canvas")
        self.stage = self.canvas.locator(".easel-canvas-stage")
        self.error = self.page.locator("easel-source > .easel-cards .easel-error")
        self.result = self.page.locator("#img2img_result")
        expect(self.page.locator("#mode_img2img")).to_be_visible()
        settle(self.page)

    def mode(self, name: str) -> None:
        self.page.locator(f"#img2img_{name}_tab").click()

    def choose(self, picture: Image.Image | bytes | Path, name: str = "picture.png") -> None:
        """Choose a picture and wait until it is on the canvas or refused."""
        chooser = self.canvas.locator("input[type=file]").last  # the one of the empty stage
        chooser.set_input_files(file_of(picture, name))
        settle(self.page, TICK_MS)
        expect(self.canvas).not_to_have_attribute("data-busy", "true", timeout=LONG)

    def start(self, picture: Image.Image, mode: str = "inpaint") -> None:
        """A picture on the canvas, ready to be painted on."""
        self.choose(picture)
        expect(self.canvas.locator(".easel-canvas-foot")).to_contain_text(f"{picture.width} × {picture.height}")
        self.mode(mode)

    def press(self, name: str) -> None:
        self.canvas.locator(f'[data-does="{name}"]').click()

    def brush(self, size: int) -> int:
        """Set the brush to about this many pixels, as near as the slider's steps come; answers its size."""
        script = """(input, size) => {
          input.value = Math.sqrt(size / 1024) * 100;
          input.dispatchEvent(new Event('input'));
          return parseInt(input.nextElementSibling.textContent);
        }"""
        return int(self.canvas.locator(".easel-canvas-slider input").first.evaluate(script, size))

    def at(self, point: Point) -> Point:
        """Where a point of the picture is in the window, in whole pixels as a mouse has them."""
        script = """([x, y]) => {
          const canvas = document.querySelector('easel-canvas');
          const box = canvas.stage.getBoundingClientRect();
          const point = canvas.view.onStage({x, y});
          return [Math.round(box.left + point.x), Math.round(box.top + point.y)];
        }"""
        x, y = self.page.evaluate(script, list(point))
        return x, y

    def hit(self, point: Point) -> Point:
        """The point of the picture that a mouse at `at(point)` really hits."""
        script = "([x, y]) => document.querySelector('easel-canvas').view.at(x, y)"
        found = self.page.evaluate(script, list(self.at(point)))
        return found["x"], found["y"]

    def drag(self, points: Sequence[Point], button: Any = "left") -> None:
        """One movement of the mouse through points of the picture."""
        self.stage.scroll_into_view_if_needed()
        mouse = self.page.mouse
        mouse.move(*self.at(points[0]))
        mouse.down(button=button)
        for point in points[1:]:
            mouse.move(*self.at(point), steps=6)
        mouse.up(button=button)

    def painted(self, name: str = "mask") -> Pixels:
        """The component's own bits: (height, width) of a mask, (height, width, 4) of the sketch."""
        width, height, data = self.page.evaluate(BYTES, name)
        pixels = np.frombuffer(base64.b64decode(data), np.uint8)
        return pixels.reshape((height, width) if name == "mask" else (height, width, 4))

    def generate(self) -> dict[str, Any]:
        """Press Generate; kind and values of the job that sets out."""
        with self.page.expect_request(is_submission) as caught:
            self.page.locator("#img2img_generate").click()
        sent: dict[str, Any] = caught.value.post_data_json
        return sent

    def kept(self, input_id: str) -> Pixels:
        """What the server has of an uploaded picture, (height, width, 3)."""
        answer = self.page.request.get(f"{self.page.url.rstrip('/')}/api/v1/inputs/{input_id}")
        return np.asarray(Image.open(io.BytesIO(answer.body())))

    def size(self, width: int, height: int, steps: int = 4) -> None:
        for name, value in (("width", width), ("height", height), ("steps", steps)):
            box = self.page.locator(f"#img2img_{name} input[type=number]")
            box.fill(str(value))
            box.blur()

    def finished(self) -> Locator:
        """Wait for a finished picture."""
        expect(self.result.locator(".easel-stage")).to_have_attribute("data-shows", "picture", timeout=LONG)
        return self.result.locator(".easel-picture")

    def refused(self, title: str, generate: Callable[[], object] | None = None) -> None:
        """Generate says `title` in a card and sends nothing."""
        before = sum(is_submission(request) for request in self.easel.requests)
        (generate or self.page.locator("#img2img_generate").click)()
        expect(self.error).to_contain_text(title)
        assert sum(is_submission(request) for request in self.easel.requests) == before


def file_of(picture: Image.Image | bytes | Path, name: str) -> Any:
    if isinstance(picture, Path):
        return picture
    return {"name": name, "mimeType": "image/png", "buffer": picture if isinstance(picture, bytes) else png(picture)}


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A picture of which no two columns are alike, with a disc of one colour in the middle."""
    ys, xs = np.mgrid[0:height, 0:width]
    pixels = np.stack([xs * 255 // width, ys * 255 // height, (xs * 7 + ys * 3) % 120], -1).astype(np.uint8)
    pixels[(xs - width // 2) ** 2 + (ys - height // 2) ** 2 < (height // 4) ** 2] = (240, 240, 240)
    return Image.fromarray(pixels)
