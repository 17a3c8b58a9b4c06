"""The wildcards folder: what lies in it is found, nothing leads out of it, and a change never loses what was there."""

import os

import pytest

from webui.errors import CannotSaveWildcards, InvalidRequest, UnknownName
from webui.prompt.wildcard_files import MAX_FILE, WildcardFolder
from webui.prompt.wildcards import expand


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
    folder = WildcardFolder(tmp_path)
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


def test_a_wildcard_is_written_changed_and_deleted_and_what_was_there_is_kept(tmp_path):
    folder = WildcardFolder(tmp_path / "wildcards")
    folder.save("animals/cats", "tabby\n# mine\n고양이")
    assert WildcardFolder(tmp_path / "wildcards")["animals/cats"] == ("tabby", "고양이") == folder["animals/cats"]
    folder.save("animals/cats", "lion")
    assert folder["animals/cats"] == ("lion",)
    assert folder.text("animals/cats") == "lion"
    kept = tmp_path / "wildcards" / "animals" / "cats.txt.bak"
    assert kept.read_text() == "tabby\n# mine\n고양이"
    folder.delete("animals/cats")
    assert dict(folder) == dict(WildcardFolder(tmp_path / "wildcards")) == {}
    assert kept.read_text() == "lion"
    for act in (folder.delete, folder.text):
        with pytest.raises(UnknownName):
            act("animals/cats")


@pytest.mark.parametrize("name", ["", "../x", "/x", "a//b", "a/", "a.b", "a b", "_a", "a__b", "a\nb", "x" * 201])
def test_a_name_that_cannot_be_typed_is_no_file(tmp_path, name):
    with pytest.raises(InvalidRequest, match="A wildcard's name has up to 200 letters"):
        WildcardFolder(tmp_path).save(name, "x")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_through_a_link_that_leads_out(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    inside = tmp_path / "wildcards"
    inside.mkdir()
    (inside / "out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(InvalidRequest, match="lies elsewhere"):
        WildcardFolder(inside).save("out/x", "x")
    (inside / "file").write_text("x")
    with pytest.raises(CannotSaveWildcards):
        WildcardFolder(inside).save("file/x", "x")
    assert list((tmp_path / "elsewhere").iterdir()) == []
