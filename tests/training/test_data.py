"""Datasets: what a folder holds, what is wrong with it in words, and how a picture becomes a tensor."""

import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from webui.dataset import Box, read_dataset
from webui.errors import MissingTrainingData, UnusablePicture


def picture(path, size=(40, 20), colour="red", mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def problems_of(folder, **options):
    return [str(problem) for problem in read_dataset(folder, **options).problems]


def write_lines(folder, *lines):
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_captions_classes_controls_and_metadata_are_found(tmp_path):
    picture(tmp_path / "a.png").with_suffix(".txt").write_text("\ufeffa red\n  oblong ", "utf-8")
    picture(tmp_path / "b.JPG").with_suffix(".caption").write_text("빨간 네모", "utf-8")
    picture(tmp_path / "b.control.png")
    picture(tmp_path / "cats/old/c.webp")
    picture(tmp_path / "cats/d.png").with_suffix(".txt").write_text("not this")
    picture(tmp_path / ".hidden/e.png")
    picture(tmp_path / "__MACOSX/f.png")
    write_lines(
        tmp_path,
        {"file_name": "cats/d.png", "text": "a  dog", "label": "dogs",
         "boxes": [{"label": "dog", "box": [0, 0.25, 0.5, 1]}]},
    )  # fmt: skip
    dataset = read_dataset(tmp_path)
    found = {each.path.name: each for each in dataset.examples}
    assert list(found) == ["a.png", "b.JPG", "d.png", "c.webp"]
    assert found["a.png"].caption == "a red oblong"
    assert found["b.JPG"].caption == "빨간 네모"
    assert found["b.JPG"].control == tmp_path / "b.control.png"
    assert [found[name].label for name in found] == [None, None, "dogs", "cats"]
    assert found["d.png"].caption == "a dog"
    assert found["d.png"].boxes == (Box(label="dog", left=0, top=0.25, right=0.5, bottom=1),)
    assert {each.size for each in dataset.examples} == {(40, 20)}
    assert dataset.labels == ("cats", "dogs")
    assert [str(problem) for problem in dataset.problems] == ["1 of 4 pictures have no caption."]


def bomb(width, height):
    """A PNG of a few bytes that would become gigabytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg():
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.png", bomb(60_000, 60_000), "more than 89 million pixels"),
        ("x.png", bomb(10_000, 10_000), "more than 89 million pixels"),
        ("x.jpg", jpeg()[:-500], "cut off or damaged"),
        ("x.png", b"", "no picture, or damaged"),
        ("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture, or damaged"),
        ("x.png", bomb(30, 30), "cut off or damaged"),
        ("x.pdf", b"%PDF-1.4", "pictures end in .png, "),
        ("x.txt", b"words", "there is no picture of that name"),
        ("x.control.png", b"words", "there is no picture of that name"),
        ("a.txt", b"\xff\xfe\x00", "no UTF-8 text"),
        ("a.txt", b"x" * 30_000, "more than 20000 bytes"),
    ],
)
def test_what_cannot_be_used_is_told_and_the_rest_is_learnt(tmp_path, name, content, words):
    picture(tmp_path / "a.png")
    (tmp_path / name).write_bytes(content)
    dataset = read_dataset(tmp_path)
    assert [each.path.name for each in dataset.examples] == ["a.png"]
    told, without_caption = map(str, dataset.problems)
    assert name in told and words in told
    assert "no caption" in without_caption


def test_a_cut_off_picture_passes_a_look_that_is_not_thorough(tmp_path):
    (tmp_path / "x.jpg").write_bytes(jpeg()[:-500])
    assert len(read_dataset(tmp_path, thorough=False).examples) == 1
    with pytest.raises(MissingTrainingData, match="cut off or damaged"):
        read_dataset(tmp_path)


def test_pipes_and_foreign_names_are_told_and_never_waited_for(tmp_path):
    picture(tmp_path / "a.png").with_suffix(".txt").write_text("red")
    os.mkfifo(tmp_path / "p.png")
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    told = problems_of(tmp_path)
    assert len(told) == 3
    assert sum("no ordinary file" in each for each in told) == 2
    assert sum("its name is no UTF-8" in each for each in told) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "metadata.jsonl:1 is not used: it is no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('"a.png"', "no JSON object"),
        ('{"text": "x"}', "no JSON object with a file_name"),
        ('{"file_name": "b.png"}', "there is no picture b.png"),
        ('{"file_name": "../a.png"}', "there is no picture ../a.png"),
        ('{"file_name": "a.png"}\n{"file_name": "a.png"}', "metadata.jsonl:2 is not used: a.png has a line already"),
        ('{"file_name": "a.png", "text": 5}', "text is not used"),
        ('{"file_name": "a.png", "boxes": 5}', "1 of 1 boxes are not used"),
        *(
            (f'{{"file_name": "a.png", "boxes": [{{"label": "b", "box": {box}}}]}}', "1 of 1 boxes are not used")
            for box in ("[0, 0, 1]", "[0, 0, 1.01, 1]", "[-0.1, 0, 1, 1]", "[0.5, 0, 0.5, 1]", "[0, 0, NaN, 1]",
                        f"[0, 0, 1{'0' * 400}, 1]", "[0, 0, true, 1]", '[0, 0, "1", 1]', "7")
        ),
    ],
)  # fmt: skip
def test_wrong_lines_of_metadata_are_told_with_their_number(tmp_path, line, words):
    picture(tmp_path / "a.png").with_suffix(".txt").write_text("red")
    (tmp_path / "metadata.jsonl").write_text(line)
    dataset = read_dataset(tmp_path)
    assert dataset.examples[0].boxes == ()
    assert dataset.examples[0].caption == "red"
    assert len(dataset.problems) == 1
    assert words in str(dataset.problems[0])


def test_a_folder_without_anything_usable_is_refused_in_words(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(MissingTrainingData, match="no picture in"):
            read_dataset(folder)


MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "La", "RGBa", "PA")


@pytest.mark.parametrize("mode", MODES)
def test_every_band_layout_becomes_rgb(mode):
    from webui.pictures import to_rgb

    white = {"1": 1, "I": 65535, "F": 1.0, "I;16": 65535, "CMYK": (0, 0, 0, 0), "LAB": (255, 128, 128),
             "YCbCr": (255, 128, 128), "HSV": (0, 0, 255), "LA": (255, 255), "La": (255, 255)}  # fmt: skip
    if mode in ("P", "PA"):
        image = Image.new("RGBA", (4, 4), "white").convert("P")
        image = image.convert("PA") if mode == "PA" else image
    else:
        image = Image.new(mode, (4, 4), white.get(mode, (255,) * len(Image.new(mode, (1, 1)).getbands())))
    converted = to_rgb(image)
    assert (converted.mode, converted.size) == ("RGB", (4, 4))
    assert np.asarray(converted).min() >= 254


def test_sixteen_bits_keep_their_shades_and_transparency_shows_white(tmp_path):
    from webui.pictures import read_picture

    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    grey = np.asarray(read_picture(tmp_path / "deep.png"))
    assert np.array_equal(grey[0, :, 0], np.arange(256))
    picture(tmp_path / "clear.png", colour=(255, 0, 0, 0), mode="RGBA")
    assert np.asarray(read_picture(tmp_path / "clear.png")).min() == 255
    half = Image.new("P", (2, 1))
    half.putpalette([0, 0, 0, 255, 0, 0])
    half.putpixel((1, 0), 1)
    half.save(tmp_path / "palette.png", transparency=0)
    assert np.asarray(read_picture(tmp_path / "palette.png")).tolist() == [[[255, 255, 255], [255, 0, 0]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_the_camera_was_held(tmp_path, orientation):
    from webui.pictures import picture_size, read_picture

    upright = Image.new("RGB", (48, 32), "white")
    upright.paste("red", (0, 0, 24, 16))
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    assert picture_size(tmp_path / "photo.png") == (48, 32)
    assert np.array_equal(np.asarray(read_picture(tmp_path / "photo.png")), np.asarray(upright))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    from webui.pictures import read_picture

    picture(tmp_path / "x.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff nonsense")
    assert read_picture(tmp_path / "x.jpg").size == (40, 20)


@pytest.mark.torch
def test_a_picture_covers_its_size_and_is_cut_at_its_centre(tmp_path):
    import torch

    from webui.training.data import load_picture

    wide = Image.new("RGB", (600, 200), "black")
    wide.paste("white", (200, 0, 400, 200))
    wide.save(tmp_path / "wide.png")
    wide.save(tmp_path / "wide.jpg", quality=95)
    middle = load_picture(tmp_path / "wide.png", 16, 16)
    assert (middle.shape, middle.dtype) == ((3, 16, 16), torch.float32)
    assert float(middle[:, :, 1:-1].min()) > 0.98
    assert float(load_picture(tmp_path / "wide.jpg", 16, 16)[:, :, 1:-1].min()) > 0.95
    whole = load_picture(tmp_path / "wide.png", 48, 16)
    assert float(whole[:, :, 2].max()) < -0.95 and float(whole[:, :, 24].min()) > 0.95
    assert load_picture(tmp_path / "wide.png", 24, 40).shape == (3, 40, 24)
    with pytest.raises(UnusablePicture, match="No such file"):
        load_picture(tmp_path / "absent.png", 8, 8)


@pytest.mark.torch
def test_each_picture_goes_to_the_size_nearest_to_its_aspect_ratio():
    from webui.training.data import buckets

    originals = [(1000, 1000), (300, 200), (200, 300), (5000, 100), (64, 64), (1920, 1080)]
    sizes = buckets(originals, 512, 64)
    assert sizes[0] == sizes[4] == (512, 512)
    assert sizes[1] == (640, 384) and sizes[2] == (384, 640)
    assert sizes[3] == (768, 320)
    assert sizes[5] == (640, 384)
    for width, height in sizes:
        assert width % 64 == height % 64 == 0
        assert width * height <= 512 * 512
    assert buckets([(30, 20), (20, 30)], 8, 16) == [(16, 16), (16, 16)]
    assert buckets([], 512, 64) == []


@pytest.mark.torch
def test_boxes_move_with_the_crop_of_their_picture():
    from webui.training.data import crop_boxes

    def box(*corners):
        return Box(label="x", **dict(zip(("left", "top", "right", "bottom"), corners, strict=True)))

    kept = crop_boxes([box(0.25, 0, 0.5, 1), box(0, 0, 0.2, 1), box(0.5, 0.5, 1, 1)], (400, 200), (100, 100))
    assert kept == (box(0, 0, 0.5, 1), box(0.5, 0.5, 1, 1))
    assert crop_boxes([box(0.1, 0.2, 0.3, 0.4)], (64, 64), (32, 32)) == (box(0.1, 0.2, 0.3, 0.4),)
