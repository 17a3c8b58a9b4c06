"""Emoji packages become pictures with the right words, however the package calls its icons."""

import io
import json
import tarfile

import pytest

from webui.errors import MissingTrainingData
from webui.training.embedded.emoji import EMOJIBASE, PACKAGES, WORDNET, load_emoji

SQUARE = '<path fill="#ff0000" d="M0 0h32v32H0z"/>'
DISC = '<circle cx="16" cy="16" r="16" fill="#0000ff"/>'


def pack(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def debian_package(path, name, content):
    """An `ar` archive with one file in its data.tar.xz (deb(5))."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:xz") as archive:
        info = tarfile.TarInfo(f"./usr/share/{name}")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    data = body.getvalue()
    header = f"{'data.tar.xz':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
    path.write_bytes(b"!<arch>\n" + header + data)


@pytest.fixture
def folder(tmp_path):
    """Two fruits and a flag in words; each test adds the pictures."""
    entries = [
        {"hexcode": "1F34E", "label": "red apple", "group": 4, "subgroup": 42, "tags": ["fruit"]},
        {"hexcode": "1F350", "label": "pear", "group": 4, "subgroup": 42, "tags": []},
    ]
    messages = {
        "groups": [{"order": 4, "key": "food-drink"}],
        "subgroups": [{"order": 42, "key": "food-fruit"}],
    }
    words = {"en/data.json": entries, "ko/data.json": [], "en/messages.json": messages}
    pack(tmp_path / EMOJIBASE, words)
    debian_package(tmp_path / WORDNET, "data.noun", b"07755101 13 n 01 pear 0 001 @ 07705931 n 0000 | sweet\n")
    return tmp_path


def icons(folder, style, bodies, characters=None):
    files = {
        "icons.json": {"icons": {name: {"body": body} for name, body in bodies.items()}, "width": 32, "height": 32}
    }
    if characters is not None:
        files["chars.json"] = characters
    pack(folder / PACKAGES[style], files)


def colours(emoji):
    return {each.concept.label: tuple(each.pixels[8, 8]) for each in emoji}


@pytest.mark.parametrize("characters", [None, {}], ids=["no list of code points", "an empty one"])
def test_icons_without_code_points_are_known_by_their_labels(folder, characters):
    bodies = {"red-apple-1": SQUARE, "Pear": DISC, "green-apple": DISC}
    icons(folder, "streamline", bodies, characters)
    drawn = load_emoji(folder, ["streamline"], ["food-fruit"], 16)
    assert colours(drawn) == {"red apple": (255, 0, 0, 255), "pear": (0, 0, 255, 255)}


def test_code_points_count_where_a_package_lists_them(folder):
    icons(folder, "noto", {"pear": SQUARE, "thing": DISC}, {"1f350": "thing"})
    assert colours(load_emoji(folder, ["noto"], ["food-fruit"], 16)) == {"pear": (0, 0, 255, 255)}


def test_a_style_that_has_none_of_the_pictures_is_no_silent_gap(folder):
    icons(folder, "noto", {"other": SQUARE}, {"1f600": "other"})
    with pytest.raises(MissingTrainingData, match="'noto' has none"):
        load_emoji(folder, ["noto"], ["food-fruit"], 16)
