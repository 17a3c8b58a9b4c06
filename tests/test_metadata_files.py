"""Metadata in files: chunks of PNG and WebP, segments of JPEG, EXIF of both byte orders; damaged and hostile files."""

import io
import json
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from webui.errors import InvalidRequest
from webui.metadata import convert, encode_jpeg, encode_png, encode_webp, infotext, read
from webui.metadata.containers import MAX_TEXT
from webui.metadata.exif import texts as exif_texts
from webui.metadata.exif import user_comment
from webui.requests import build

PICTURE = Image.new("RGB", (8, 8), "red")
TEXT = "a fox\nSteps: 30, Sampler: Euler a, CFG scale: 6.5, Seed: 1, Size: 768x512, Version: v1.10.1"
LONG = "빨간 사과 🎨 " * 1500


def request(**values):
    return build("txt2img", {"seed": 5, "checkpoint": "easel", **values})


def chunk(kind, data):
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def png_with(*chunks, mode="L"):
    buffer = io.BytesIO()
    Image.new(mode, (4, 4)).save(buffer, "PNG")
    plain = buffer.getvalue()
    return plain[:33] + b"".join(chunks) + plain[33:]


def saved(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def lossless_webp(image, request, picture, text):
    return encode_webp(image, request, picture, text, lossless=True)


@pytest.mark.parametrize("encode", [encode_png, encode_jpeg, encode_webp, lossless_webp])
@pytest.mark.parametrize(
    "prompt", ["a cat", "빨간 사과, 고양이 🎨", 'two\nlines: "a", b\nNegative prompt: x\nSteps: 5', LONG]
)
@pytest.mark.row("M1")
def test_every_format_gives_back_the_request_and_the_infotext(encode, prompt):
    made = request(prompt=prompt, negative_prompt="dog", guidance_scale=4.5)
    text = infotext(made, 0, model_hash="x", version="0")
    data = encode(PICTURE, made, 0, text)
    found = read(data)
    assert (found.is_ours, found.tool, found.unmapped) == (True, "Easel", ())
    assert build(found.kind, found.values) == made
    assert found.parameters == text
    assert np.abs(pixels(data).astype(int) - np.asarray(PICTURE)).max() < 8, "the picture itself is whole"


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_a_converted_picture_keeps_both_texts_and_nothing_else(file_format):
    made = request(prompt="a cat")
    png = encode_png(PICTURE, made, 0, TEXT)
    found = read(convert(png, file_format, lossless=True))
    assert found == read(png)


@pytest.mark.parametrize("encode", [encode_png, encode_jpeg, encode_webp])
@pytest.mark.row("M9")
def test_nothing_of_the_picture_that_a_request_began_with_goes_into_the_result(encode):
    image = PICTURE.copy()
    exif = Image.Exif()
    exif[0x010E] = "secret"
    image.info |= {"exif": exif.tobytes(), "icc_profile": b"secret" * 50, "comment": b"secret", "xmp": b"secret"}
    assert b"secret" not in encode(image, request(), 0, TEXT)


def test_a_text_too_long_for_a_jpeg_is_left_out_and_the_request_stays():
    made = request(
        prompt="".join(map(chr, range(0xAC00, 0xAC00 + 11_000))) + "가" * 9_000, negative_prompt="나" * 20_000
    )
    found = read(encode_jpeg(PICTURE, made, 0, infotext(made, 0, model_hash="x", version="0")))
    assert build(found.kind, found.values) == made
    assert found.parameters == ""


def test_a_long_text_of_ascii_fits_a_jpeg_as_ascii():
    text = "x" * 50_000
    assert read(encode_jpeg(PICTURE, request(), 0, text)).parameters == text


def test_exif_is_written_as_the_family_writes_it():
    exif = Image.Exif()
    exif.load(user_comment("고양이 a"))
    assert exif.get_ifd(0x8769)[0x9286] == b"UNICODE\0" + "고양이 a".encode("utf-16-be")
    assert exif.endian == ">"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "utf-16"])
@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "PNG"])
def test_user_comments_of_both_byte_orders_are_read_from_files_of_both(order, encoding, file_format):
    exif = Image.Exif()
    exif.endian = order
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + TEXT.encode(encoding)
    found = read(saved(PICTURE, file_format, exif=exif.tobytes()))
    assert found.parameters == TEXT
    assert found.values["sampler"] == "Euler a"


@pytest.mark.parametrize("code", [b"ASCII\0\0\0", bytes(8), b""])
def test_comments_in_ascii_or_without_a_code_are_read(code):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = code + TEXT.encode()
    assert read(saved(PICTURE, "JPEG", exif=exif.tobytes())).parameters == TEXT


@pytest.mark.parametrize(
    "written",
    [
        chunk(b"tEXt", b"parameters\0" + TEXT.encode()),
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(TEXT.encode())),
        chunk(b"iTXt", b"parameters\0\0\0\0\0" + TEXT.encode()),
        chunk(b"iTXt", b"parameters\0\1\0en\0Parameter\0" + zlib.compress(TEXT.encode())),
    ],
)
def test_texts_are_read_from_every_kind_of_chunk_in_front_of_and_behind_the_picture(written):
    assert read(png_with(written)).parameters == TEXT
    plain = png_with()
    assert read(plain[:-12] + written + plain[-12:]).parameters == TEXT


@pytest.mark.row("M7")
def test_the_first_text_of_a_key_that_can_be_read_is_taken():
    damaged = chunk(b"zTXt", b"parameters\0\0" + b"nonsense")
    good = chunk(b"tEXt", b"parameters\0" + TEXT.encode())
    found = read(png_with(damaged, good, chunk(b"tEXt", b"parameters\0other")))
    assert found.parameters == TEXT
    assert [(each.name, str(each.why)) for each in found.unmapped] == [
        ("parameters", "It is damaged, or too long to be read.")
    ]


@pytest.mark.row("M7")
def test_latin_and_utf8_are_told_apart_and_invalid_utf8_is_no_error():
    assert read(png_with(chunk(b"tEXt", "parameters\0café".encode("latin-1")))).parameters == "café"
    assert read(png_with(chunk(b"tEXt", "parameters\0café".encode()))).parameters == "café"
    assert "caf" in read(png_with(chunk(b"iTXt", b"parameters\0\0\0\0\0caf\xe9"))).parameters


BOMB = zlib.compress(b" " * 60_000_000, 9)


@pytest.mark.parametrize(
    "hostile",
    [
        chunk(b"zTXt", b"parameters\0\0" + BOMB),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + BOMB),
        chunk(b"iTXt", b"easel\0\1\0\0\0" + BOMB),
        chunk(b"tEXt", b"parameters\0" + b"x" * (MAX_TEXT + 1)),
        chunk(b"tEXt", b"parameters\0" + b"x" * 30_000_000),
        chunk(b"iTXt", b"parameters\0\1"),
    ],
)
@pytest.mark.row("U5", "M7")
def test_texts_that_are_too_long_or_cut_off_are_passed_over_and_named(hostile):
    began = time.process_time()
    found = read(png_with(hostile, chunk(b"tEXt", b"prompt\0x")))
    assert time.process_time() - began < 5
    assert found.parameters == ""
    assert found.values == {}
    assert [each.name for each in found.unmapped] in (["parameters"], ["easel"])
    assert found.fields["prompt"] == "x", "the texts after it are read"


@pytest.mark.row("U5")
def test_thousands_of_chunks_are_read_in_no_time():
    chunks = [chunk(b"tEXt", f"k{number}\0".encode() + b"x" * 900) for number in range(10_000)]
    began = time.process_time()
    assert len(read(png_with(*chunks)).fields) <= 100
    assert time.process_time() - began < 5


@pytest.mark.parametrize("key", ["easel", "parameters", "prompt", "sd-metadata", "invokeai_metadata", "Comment"])
@pytest.mark.parametrize(
    "text",
    ["[" * 400_000, '{"a":' * 150_000, "{" * 1000, "[]", "null", '{"kind": 5}', '{"kind": "train lora", "seed": 1}',
     '{"image": 1, "prompt": [[[]]], "seed": ' + "9" * 5000 + "}", '{"seed": NaN, "steps": 1e999, "width": true}'],
)  # fmt: skip
def test_hostile_json_gives_an_answer_and_never_an_error(key, text):
    info = PngImagePlugin.PngInfo()
    info.add_text(key, text)
    info.add_text("Software", "NovelAI")
    began = time.process_time()
    found = read(saved(Image.new("L", (1, 1)), "PNG", pnginfo=info))
    assert time.process_time() - began < 5
    build("txt2img", {name: value for name, value in found.values.items() if name != "strength"})


def test_wrong_values_in_our_own_json_are_left_out_and_named():
    own = {
        "kind": "txt2img",
        "prompt": "a",
        "seed": "x",
        "width": 9,
        "sampler": "nobody's",
        "from_later": [1],
        "height": 96,
    }
    found = read(png_with(chunk(b"iTXt", b"easel\0\0\0\0\0" + json.dumps(own).encode())))
    assert found.values == {"prompt": "a", "height": 96, "width": 64}
    assert {each.name: each.value for each in found.unmapped} == {
        "seed": "x", "width": "9", "sampler": "nobody's", "from_later": "[1]",
    }  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"<html>", b"GIF89a" + bytes(20), b"RIFF\0\0\0\0WAVE"])
def test_something_that_is_no_picture_is_refused_in_words(data, tmp_path):
    with pytest.raises(InvalidRequest, match="not a PNG"):
        read(data)
    with pytest.raises(InvalidRequest, match="not a PNG"):
        convert(data, "JPEG")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read(tmp_path / "absent.png")


@pytest.mark.parametrize("encode", [encode_png, encode_jpeg, encode_webp])
@pytest.mark.row("M7")
def test_pictures_that_are_cut_off_anywhere_give_what_is_there(encode, tmp_path):
    data = encode(PICTURE, request(prompt="a"), 0, TEXT)
    for end in range(16, len(data), 29):
        found = read(data[:end])
        assert found.values.get("prompt") in (None, "a", "a fox")
    (path := tmp_path / "picture").write_bytes(data)
    assert read(path) == read(data)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"II*\0", b"MM\0*", b""]))
def test_any_exif_is_read_without_an_error(data, begin):
    exif_texts(begin + data)
    exif_texts(b"Exif\0\0" + begin + bytes(3) + b"\x08" + data)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"]))
@pytest.mark.row("M7")
def test_any_file_is_read_without_an_error(data, begin):
    read(begin + data)


def test_exif_whose_entries_all_hold_the_same_megabyte_costs_nothing():
    entry = (0x010E).to_bytes(2, "little") + (2).to_bytes(2, "little") + MAX_TEXT.to_bytes(4, "little") + bytes(4)
    data = b"II*\0" + (8).to_bytes(4, "little") + (65_535).to_bytes(2, "little") + entry * 65_535 + bytes(MAX_TEXT)
    began = time.process_time()
    exif_texts(data)
    assert time.process_time() - began < 5


def hidden(image, signature, payload, channels):
    """The payload in the lowest bits, down the columns from the left, as the family's extension writes it."""
    values = np.array(image)
    data = signature + (len(payload) * 8).to_bytes(4) + payload
    for number, bit in enumerate(np.unpackbits(np.frombuffer(data, np.uint8))):
        where, channel = divmod(number, len(channels))
        x, y = divmod(where, image.height)
        values[y, x, channels[channel]] = values[y, x, channels[channel]] & 254 | bit
    return Image.fromarray(values)


@pytest.mark.parametrize(
    ("signature", "channels"),
    [(b"stealth_pnginfo", [3]), (b"stealth_pngcomp", [3]),
     (b"stealth_rgbinfo", [0, 1, 2]), (b"stealth_rgbcomp", [0, 1, 2])],
)  # fmt: skip
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_texts_hidden_in_pixels_are_found(signature, channels, file_format):
    payload = TEXT.encode()
    if signature.endswith(b"comp"):
        packer = zlib.compressobj(wbits=31)
        payload = packer.compress(payload) + packer.flush()
    mode = "RGBA" if channels == [3] else "RGB"
    picture = hidden(Image.new(mode, (37, 53), (200, 100, 50, 255)[: len(mode)]), signature, payload, channels)
    found = read(saved(picture, file_format, lossless=True))
    assert found.parameters == TEXT
    assert found.values["sampler"] == "Euler a"


def test_a_hidden_bomb_or_a_wrong_length_gives_nothing():
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(bytes(2 * MAX_TEXT)) + packer.flush()
    for payload in (bomb, b"no gzip"):
        picture = hidden(Image.new("RGBA", (200, 200)), b"stealth_pngcomp", payload, [3])
        assert read(saved(picture, "PNG")).tool == ""
    picture = hidden(Image.new("RGBA", (20, 20)), b"stealth_pnginfo\xff\xff\xff\xff", b"", [3])
    assert read(saved(picture, "PNG")).tool == ""
