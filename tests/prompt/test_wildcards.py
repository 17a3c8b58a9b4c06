"""Wildcards: the same seed gives the same words, and nothing a file holds can hang or lead out of the folder."""

import os
import time

import pytest

from webui.errors import InvalidRequest, UnknownName
from webui.prompt.limits import MAX_CHARACTERS
from webui.prompt.wildcards import MAX_FILE, WildcardFolder, expand

COLOURS = {"colour": ["red", "green", "blue", "black", "white"], "thing": ["__colour__ cat", "__colour__ dog"]}


def test_a_wildcard_becomes_one_of_its_lines():
    said = {expand("a __colour__ fox", COLOURS, f"{seed}") for seed in range(60)}
    assert said == {f"a {colour} fox" for colour in COLOURS["colour"]}


def test_the_same_key_gives_the_same_words_whatever_follows():
    first = expand("__colour__ __thing__", COLOURS, "7")
    assert first == expand("__colour__ __thing__", COLOURS, "7")
    assert expand("__colour__ __thing__ __colour__", COLOURS, "7").startswith(first)


def test_what_a_seed_chooses_never_changes():
    """Pictures of older versions come back: these words were chosen by the first one."""
    assert [expand("__thing__", COLOURS, str(seed)) for seed in range(4)] == [
        "green cat", "red cat", "black dog", "white dog",
    ]  # fmt: skip


def test_lines_may_hold_wildcards_again():
    words = expand("__thing__", COLOURS, "1").split()
    assert words[0] in COLOURS["colour"]
    assert words[1] in ("cat", "dog")


@pytest.mark.parametrize("prompt", ["____", "__ a __", "a_b", r"\__colour__", "__", "o_o", "__-x__"])
def test_what_is_no_wildcard_stays(prompt):
    assert expand(prompt, COLOURS, "1") == prompt


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match=r"'color'.*colour, thing"):
        expand("__color__", COLOURS, "1")


@pytest.mark.parametrize(
    ("wildcards", "words"),
    [
        ({"a": ["__a__"]}, "leads to itself"),
        ({"a": ["x __b__"], "b": ["__a__"]}, "leads to itself"),
        ({"a": ["__a__ __a__"]}, "leads to itself"),
        ({"a": ["__b__" * 200], "b": ["__c__" * 200], "c": ["x"]}, "more than"),
        ({"a": ["__b__" * 200], "b": ["x" * 1_000]}, "more than"),
        ({"a": ["x" * (MAX_CHARACTERS + 1)]}, "characters"),
        ({"a": []}, "has no line"),
    ],
)
def test_wildcards_that_would_never_end_are_refused_at_once(wildcards, words):
    begin = time.process_time()
    with pytest.raises(InvalidRequest, match=words):
        expand("__a__", wildcards, "1")
    assert time.process_time() - begin < 1


def test_a_folder_lists_its_text_files_by_name(tmp_path):
    (tmp_path / "animals").mkdir()
    (tmp_path / "animals" / "big cats.txt").write_text("cannot be typed")
    (tmp_path / "animals" / "cats.txt").write_bytes("\ufeff# mine\r\ntabby\r\n\r\n  고양이  \r\n".encode())
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "..txt").write_text("x")
    folder = WildcardFolder(tmp_path)
    assert dict(folder) == {"animals/cats": ("tabby", "고양이")}
    (tmp_path / "new.txt").write_text("x")
    assert "new" not in folder
    folder.refresh()
    assert "new" in folder
    (tmp_path / "new.txt").unlink()
    with pytest.raises(InvalidRequest, match="'new' cannot be read"):
        folder["new"]


def test_no_name_leads_out_of_the_folder(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    inside = tmp_path / "wildcards"
    inside.mkdir()
    (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
    (inside / "nowhere.txt").symlink_to("nothing")
    (inside / "circle.txt").symlink_to("circle.txt")
    (inside / "out").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(inside / "pipe.txt")
    folder = WildcardFolder(inside)
    assert dict(folder) == {}
    for name in ("../secret", "out/secret", str(tmp_path / "secret")):
        assert name not in folder
    assert expand("__../secret__", folder, "1") == "__../secret__"


def test_a_missing_folder_holds_nothing(tmp_path):
    assert dict(WildcardFolder(tmp_path / "none")) == {}


@pytest.mark.parametrize(("content", "words"), [(b"\xff\x00", "UTF-8"), (b"x" * (MAX_FILE + 1), "larger than 8 MB")])
def test_a_file_that_is_no_list_of_words_is_refused_when_it_is_used(tmp_path, content, words):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InvalidRequest, match=words):
        expand("__bad__", WildcardFolder(tmp_path), "1")
