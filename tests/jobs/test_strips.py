"""The previews of a picture's steps: kept with the picture, within their room, and gone with it."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.farm import Farm
from tests.scripted_engine import ScriptedEngineFactory
from tests.workers.transports import local_workers
from webui.errors import UnknownName
from webui.jobs import strips as module
from webui.jobs.animation import FORMATS, LAST_SHOWN, animation
from webui.jobs.strips import Strips


@pytest.fixture
def strips(tmp_path: Path) -> Strips:
    return Strips(tmp_path / "strips", lambda: 1)


def jpeg(shade: int, size: tuple[int, int] = (32, 24)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 20, 200 - shade)).save(buffer, "JPEG")
    return buffer.getvalue()


def made(strips: Strips, picture_id: str, frames: dict[int, bytes]) -> dict[int, bytes]:
    for step, frame in frames.items():
        strips.add("job", 0, step, frame)
    strips.keep("job", 0, picture_id)
    return strips.frames(picture_id)


def test_a_strip_is_there_after_a_restart_and_gone_with_its_picture(strips: Strips, tmp_path: Path) -> None:
    frames = {step: jpeg(step * 20) for step in (1, 2, 10)}
    assert made(strips, "abc", frames) == frames
    again = Strips(tmp_path / "strips", lambda: 1)
    assert list(again.frames("abc")) == [1, 2, 10]
    again.forget(["abc", "unknown"])
    assert again.frames("abc") == {}


def test_a_step_made_again_counts_once_and_unfinished_pictures_leave_nothing(strips: Strips) -> None:
    strips.add("job", 0, 1, b"first")
    assert made(strips, "abc", {1: b"again"}) == {1: b"again"}
    strips.add("job", 1, 1, b"x")
    strips.drop("job")
    strips.keep("job", 1, "def")
    assert strips.frames("def") == {}


def test_a_long_strip_is_thinned_but_keeps_its_last_step(strips: Strips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    kept = made(strips, "abc", {step: bytes(100) for step in range(1, 31)})
    assert sum(map(len, kept.values())) <= 1000
    assert max(kept) == 30


def test_all_strips_together_keep_to_their_room_and_the_oldest_go(tmp_path: Path) -> None:
    room = [1]
    strips = Strips(tmp_path, lambda: room[0])
    for number in range(3):
        made(strips, f"p{number}", {1: bytes(400_000)})
        for path in tmp_path.glob(f"*/p{number}.zip"):
            os.utime(path, (number, number))
    assert [bool(strips.frames(f"p{number}")) for number in range(3)] == [False, True, True]
    room[0] = 0
    assert made(strips, "none", {1: b"x"}) == {}


def test_a_disk_that_takes_no_strip_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert made(Strips(tmp_path / "file", lambda: 1), "abc", {1: b"x"}) == {}


def test_a_damaged_strip_is_none(strips: Strips, tmp_path: Path) -> None:
    made(strips, "abc", {1: b"x"})
    next((tmp_path / "strips").glob("*/*.zip")).write_bytes(b"PK broken")
    assert strips.frames("abc") == {}


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with Farm(tmp_path_factory.mktemp("farm"), local_workers(1, ScriptedEngineFactory())) as farm:
        yield farm


def test_every_picture_of_a_job_has_its_steps(farm: Farm) -> None:
    job = farm.submit("a cat", batch_count=2, num_inference_steps=5)
    farm.wait_for(job)
    first, second = (farm.strips.frames(picture.id) for picture in farm.store.pictures_of([job])[job])
    assert list(first) == list(second) == [1, 2, 3, 4, 5]
    assert all(frame.startswith(b"\xff\xd8") for frame in first.values())
    assert first != second


@pytest.mark.parametrize("name", ["gif", "webp", "png"])
def test_an_animation_has_every_step_and_shows_the_picture_longest(name: str) -> None:
    finished = jpeg(90, (65, 49))
    content, media_type = animation(name, [jpeg(0), jpeg(60), jpeg(120)], finished, 10)
    with Image.open(io.BytesIO(content)) as moving:
        assert (moving.n_frames, moving.size) == (4, (65, 49))
        times = []
        for number in range(4):
            moving.seek(number)
            moving.load()  # WebP tells its times only then
            times.append(moving.info["duration"])
    assert times == [100, 100, 100, 1000 * LAST_SHOWN]
    assert media_type == FORMATS[name][1]


def test_an_mp4_can_be_read_back(tmp_path: Path) -> None:
    import cv2

    content, media_type = animation("mp4", [jpeg(0), jpeg(200)], jpeg(90, (65, 49)), 10)
    (tmp_path / "strip.mp4").write_bytes(content)
    video = cv2.VideoCapture(str(tmp_path / "strip.mp4"))
    sizes = []
    while (read := video.read())[0]:
        sizes.append(read[1].shape)
    assert (sizes, media_type) == ([(48, 64, 3)] * (3 + 15), "video/mp4")


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="Known: gif, webp, png, mp4"):
        animation("avi", [jpeg(0)], jpeg(1), 8)
