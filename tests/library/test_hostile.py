"""Files that are broken or hostile: each is told in one sentence, and nothing of it runs, swells or hangs."""

import io
import json
import math
import os
import pickle
import random
import resource
import struct
import time
import zipfile
from pathlib import Path

import pytest

from tests.header_only import SD1, pickle_of, write_checkpoint, write_pickle, write_tensors
from webui.library import Library


def problem(folder, name):
    return str(Library(folder).passports()[name].problem)


ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w") as archive:
    # A fixed date: what the file holds is part of a test's name, which every worker must make alike.
    archive.writestr(zipfile.ZipInfo("readme.txt", (2026, 1, 1, 0, 0, 0)), "no pickle")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\xff" * 100, "damaged"),
        (b"\0" * 4096, "begins with zeros"),
        (b"<!DOCTYPE html>\n<html>", "an HTML page, not a model file"),
        (b"\n  <html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git-LFS pointer"),
        (b'{"error": "not logged in", "code": 401}', "a text"),
        (b"GGUF\3\0\0\0\0\0\0\0", "a GGUF file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a packed archive"),
        (pickle_of(SD1), "a pickle of torch called .safetensors"),
        (ZIP.getvalue(), "a pickle of torch called .safetensors"),
        (struct.pack("<Q", 2**63) + b"{}", "damaged"),
        (struct.pack("<Q", 101 * 2**20) + b"{}", "damaged"),
        (struct.pack("<Q", 5000) + b'{"w": ', "cut off within its header"),
        (struct.pack("<Q", 40) + b"[" * 40, "damaged"),
    ],
)
def test_what_lies_there_instead_of_safetensors_is_named(tmp_path, content, words):
    (tmp_path / "one.safetensors").write_bytes(content)
    assert words in problem(tmp_path, "one.safetensors")


def test_a_header_length_that_begins_like_html_is_no_html(tmp_path):
    path = write_tensors(tmp_path / "one.safetensors", SD1)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    write_tensors(path, SD1, {"note": "x" * ((ord("<") - length - 28) % 256)})
    data = path.read_bytes()
    padding = (ord("<") - data[0]) % 256
    header = data[8 : 8 + int.from_bytes(data[:8], "little")] + b" " * padding
    path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + int.from_bytes(data[:8], "little") :])
    assert path.read_bytes()[:1] == b"<"
    assert Library(tmp_path).find("one.safetensors").family == "sd1"


def test_a_download_that_broke_off_says_how_much_is_there(tmp_path):
    path = write_tensors(tmp_path / "one.safetensors", SD1)
    whole = path.stat().st_size
    os.truncate(path, whole - 1000)
    assert f"cut off or damaged: {whole - 1000:,} of {whole:,} bytes" in problem(tmp_path, "one.safetensors")


def call(function, argument):
    class Hostile:
        def __reduce__(self):
            return function, (argument,)

    return Hostile()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize(("function", "named"), [(os.system, "system"), (eval, "eval"), (__import__, "__import__")])
@pytest.mark.parametrize("suffix", [".ckpt", ".pt"])
def test_a_pickle_that_would_call_something_is_told_and_not_run(tmp_path, protocol, function, named, suffix):
    canary = tmp_path / "canary"
    content = pickle.dumps({"state_dict": call(function, f"touch {canary}")}, protocol)
    if protocol < 2:  # torch itself writes protocol 2: such files are no torch files by their first bytes
        content = b"\x80\x02" + content
    path = write_pickle(tmp_path / f"zip{suffix}", content)
    (tmp_path / f"bare{suffix}").write_bytes(content)
    assert path.exists()
    for name in (f"zip{suffix}", f"bare{suffix}"):
        told = problem(tmp_path, name)
        assert "would call" in told
        assert named in told
    assert not canary.exists()


def test_a_call_hidden_behind_a_good_model_is_found(tmp_path):
    hidden = b"\x8c\x05posix\x8c\x06system\x93X\x04\0\0\0true\x85R0"
    write_pickle(tmp_path / "one.ckpt", pickle_of(SD1, calls=hidden))
    assert "posix.system" in problem(tmp_path, "one.ckpt")


@pytest.mark.parametrize(
    "calls",
    [
        b"ctorch.storage\n_load_from_bytes\n0",
        b"cnumpy\nload\n0",
        b"ctorch.utils.collect_env\nrun\n0",
        b"ccollections\nOrderedDict.__reduce__\n0",
        b"\x82\x010",
    ],
)
def test_only_what_models_name_is_harmless(tmp_path, calls):
    write_pickle(tmp_path / "one.ckpt", pickle_of(SD1, calls=calls))
    assert "would call" in problem(tmp_path, "one.ckpt")


def test_the_globals_of_the_first_checkpoints_are_harmless(tmp_path):
    calls = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n0cnumpy.core.multiarray\nscalar\n0"
    write_pickle(tmp_path / "one.ckpt", pickle_of(SD1, calls=calls))
    assert Library(tmp_path).find("one.ckpt").family == "sd1"


def test_a_packed_archive_is_refused_before_anything_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "one.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", pickle_of(SD1))
        packed.writestr("archive/data/0", bytes(50 * 2**20))
    assert "unpacks to 50 MB: it may be a bomb" in problem(tmp_path, "one.ckpt")


def nested_dictionaries(width, depth):
    """Each holds the same one `width` times; in the innermost is a tensor."""
    content = pickle_of({"w": (1,)})[2:-1] + b"q\0"
    for level in range(depth):
        keys = b"".join(b"K" + bytes([key]) + b"h" + bytes([level]) for key in range(width))
        content += b"}(" + keys + b"uq" + bytes([level + 1])
    return b"\x80\x02" + content + b"."


def nested_calls(depth):
    """A call that calls itself, and so on."""
    call = b"ctorch._tensor\n_rebuild_from_type_v2\nq\0"
    return b"\x80\x02" + call + b"(h\0N" * depth + b")" + b"Nt" * depth + b"R."


def repeated_updates(count):
    """A big dictionary becomes the attributes of as many objects."""
    big = b"}(" + b"".join(b"M" + struct.pack("<H", key) + b"N" for key in range(count)) + b"uq\0"
    return b"\x80\x02" + big + b"N)\x81h\0b" * count + b"."


def repeated_shapes(count):
    """Very many tensors of very many dimensions."""
    call = b"ctorch._utils\n_rebuild_tensor_v2\nq\1"
    return b"\x80\x02(" + b"K\1" * count + b"tq\0" + call + b"NNh\0\x87q\2" + b"h\1h\2R" * count + b"."


def collision(number):
    """A whole number with the hash 0, as ten bytes."""
    return ((2**61 - 1) * number).to_bytes(10, "little")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git-LFS pointer"),
        (b"\x01\x02\x03\xff" * 10, "no file that torch has written"),
        (ZIP.getvalue(), "cut off or damaged"),
        (ZIP.getvalue()[:-30], "cut off or damaged"),
        (pickle_of(SD1)[:-1], "cut off or damaged"),
        (b"\x80\x02" + b"]" * 600_000, "cut off or damaged"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "cut off or damaged"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "cut off or damaged"),
        (b"\x80\x04\x8e" + b"\xff" * 8 + b".", "cut off or damaged"),
        (b"\x80\x02}" + b"2\x85" * 200 + b".", "None"),
        (nested_dictionaries(200, 4), "no file that torch has written"),
        (b"\x80\x02}X\xff\xff\0\0" + b"x" * 0xFFFF + b"K\1s.", "no file that torch has written"),
        (b"\x80\x02" + b"(" * 200_000 + b"1" * 200_000 + b"N.", "None"),
        (b"\x80\x02" + b"N" * 200_000 + b"(1" * 100_000 + b".", "None"),
        (nested_calls(1500), "None"),
        (repeated_updates(20_000), "cut off or damaged"),
        (repeated_shapes(100_000), "None"),
        (b"\x80\x02}" + b"".join(b"\x8a\x0a" + collision(n) + b"Ns" for n in range(100_000)) + b".", "None"),
        (b"\x80\x02N" + b"".join(b"p%d\n" % ((2**61 - 1) * n) for n in range(100_000)) + b".", "cut off or damaged"),
    ],
)
def test_broken_pickles_are_told_and_cost_nothing(tmp_path, content, words):
    (tmp_path / "one.ckpt").write_bytes(content)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert words in problem(tmp_path, "one.ckpt")
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_an_archive_with_a_password_is_told(tmp_path):
    path = write_pickle(tmp_path / "one.ckpt", pickle_of(SD1))
    content = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.find(magic) + flags] |= 1
    path.write_bytes(content)
    assert "no file that torch has written" in problem(tmp_path, "one.ckpt")


def test_what_nobody_thought_of_is_the_problem_of_one_file(tmp_path, monkeypatch, caplog):
    def fail(path):
        raise ArithmeticError("no such number")

    monkeypatch.setattr("webui.library.describe_file", fail)
    write_tensors(tmp_path / "one.safetensors", SD1)
    write_checkpoint(tmp_path / "two")
    assert "it cannot be read (ArithmeticError no such number)" in problem(tmp_path, "one.safetensors")
    assert Library(tmp_path).find("").name == "two"
    assert "one.safetensors was not understood" in caplog.text


def test_safetensors_called_ckpt_says_so(tmp_path):
    write_tensors(tmp_path / "one.ckpt", SD1)
    assert "a safetensors file called .ckpt. Call it .safetensors" in problem(tmp_path, "one.ckpt")


def test_a_file_that_only_loading_can_tell_apart_has_no_family_and_no_problem(tmp_path):
    write_pickle(tmp_path / "one.ckpt", pickle.dumps({"epoch": 3}, 2))
    found = Library(tmp_path).find("one.ckpt")
    assert (found.family, found.task, found.prediction_type) == ("", "", "")


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_flipped_bytes_never_break_the_library(tmp_path, suffix):
    path = tmp_path / f"one{suffix}"
    write_tensors(path, {"a.b": (2, 2)}) if suffix == ".safetensors" else path.write_bytes(pickle_of(SD1))
    good = path.read_bytes()
    dice = random.Random(7)
    for _ in range(500):
        content = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        path.write_bytes(content)
        assert list(Library(tmp_path).passports()) == [path.name]


def test_wrong_types_in_a_header_are_damage(tmp_path):
    for entry in (
        {"data_offsets": [0]},
        3,
        None,
        {"shape": "x", "data_offsets": [0, 0]},
        {"shape": [1], "data_offsets": ["a", "b"]},
        {"shape": [1], "data_offsets": [0, math.inf]},
        {"shape": [math.inf], "data_offsets": [0, 0]},
    ):
        content = json.dumps({"w": entry}).replace("Infinity", "1e999").encode()
        (tmp_path / "one.safetensors").write_bytes(struct.pack("<Q", len(content)) + content)
        assert "damaged" in problem(tmp_path, "one.safetensors")


@pytest.mark.row("F15")
def test_what_cannot_be_read_or_named_is_left_out_or_told(tmp_path):
    (tmp_path / "gone.safetensors").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.safetensors")).touch()
    assert list(Library(tmp_path).passports()) == ["gone.safetensors"]
    assert "it cannot be read" in problem(tmp_path, "gone.safetensors")
