"""The memory of the library: nothing is read twice, nothing is lost when the memory is."""

import os
import sqlite3
import threading

import pytest

import webui.library
import webui.library.passport
from tests.header_only import LORA, SD1, SD2, write_checkpoint, write_tensors
from webui.library import Library


@pytest.fixture
def looked_at(monkeypatch):
    """Names of the files that were described, in order."""
    names = []
    describe = webui.library._describe

    def listen(found, shelf):
        names.append(found.below)
        return describe(found, shelf)

    monkeypatch.setattr(webui.library, "_describe", listen)
    return names


def models(folder):
    write_tensors(folder / "checkpoints/one.safetensors", SD1)
    write_checkpoint(folder / "checkpoints/two")
    write_tensors(folder / "loras/cat.safetensors", LORA, {"ss_output_name": "x"})
    (folder / "checkpoints/bad.safetensors").write_bytes(b"<html>")
    return folder / "checkpoints"


def test_another_library_with_the_same_index_reads_only_what_is_new(tmp_path, looked_at):
    folder, index = models(tmp_path), tmp_path / "data/models.sqlite"
    first = Library(folder, index=index)
    cards = first.shelf("loras")
    assert sorted(looked_at) == ["bad.safetensors", "cat.safetensors", "one.safetensors", "two"]
    looked_at.clear()
    again = Library(folder, index=index)
    assert again.passports() == first.passports()
    assert again.shelf("loras") == cards
    assert looked_at == []
    write_tensors(folder / "new.safetensors", SD2)
    write_tensors(folder / "one.safetensors", SD2)
    (folder / "two/easel.json").write_text('{"title": "Two"}')
    again.refresh()
    assert looked_at == ["new.safetensors", "one.safetensors", "two"]
    assert again.find("two").title == "Two"
    assert str(again.passports()["bad.safetensors"].problem).startswith("it is an HTML page")


def test_without_an_index_a_library_remembers_what_it_has_seen_itself(tmp_path, looked_at):
    library = Library(models(tmp_path))
    looked_at.clear()
    library.refresh()
    assert looked_at == []


def test_what_is_gone_is_forgotten(tmp_path):
    folder, index = models(tmp_path), tmp_path / "models.sqlite"
    Library(folder, index=index)
    (folder / "one.safetensors").unlink()
    assert "one.safetensors" not in Library(folder, index=index).passports()
    with sqlite3.connect(index) as sql:
        assert not [path for (path,) in sql.execute("SELECT path FROM told") if path.endswith("one.safetensors")]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_broken_index_is_made_anew(tmp_path, content):
    index = tmp_path / "models.sqlite"
    folder = models(tmp_path)
    index.write_bytes(content)
    assert Library(folder, index=index).find("one.safetensors").family == "sd1"
    with sqlite3.connect(index) as sql:
        assert sql.execute("SELECT count(*) FROM told").fetchone() == (3,)


def test_an_index_with_senseless_rows_is_made_anew(tmp_path):
    folder, index = models(tmp_path), tmp_path / "models.sqlite"
    Library(folder, index=index)
    with sqlite3.connect(index) as sql:
        sql.execute("UPDATE told SET told = '['")
    assert Library(folder, index=index).find("one.safetensors").family == "sd1"
    with sqlite3.connect(index) as sql:
        sql.execute("DROP TABLE hashes")
    assert Library(folder, index=index).find("one.safetensors").family == "sd1"


def test_an_index_that_cannot_be_written_is_done_without(tmp_path):
    folder = models(tmp_path)
    (tmp_path / "file").touch()
    for index in (tmp_path, tmp_path / "file/models.sqlite"):
        assert Library(folder, index=index).find("one.safetensors").family == "sd1"


def test_other_rules_of_description_look_at_everything_again(tmp_path, looked_at, monkeypatch):
    folder, index = models(tmp_path), tmp_path / "models.sqlite"
    Library(folder, index=index)
    looked_at.clear()
    monkeypatch.setattr(webui.library.index, "_rules", lambda: 7)
    Library(folder, index=index)
    assert len(looked_at) == 3


def test_a_hash_is_made_once_and_never_on_the_way_to_a_list(tmp_path, monkeypatch):
    folder, index = models(tmp_path), tmp_path / "models.sqlite"
    made = []
    real = webui.library.passport.sha256_of
    monkeypatch.setattr(webui.library.passport, "sha256_of", lambda paths: made.append(1) or real(paths))
    library, neighbour = Library(folder, index=index), Library(folder, index=index)
    passport = library.find("one.safetensors")
    assert (made, passport.known_sha256) == ([], "")
    assert len(passport.hash) == 10
    library.refresh()
    (folder / "one.json").write_text("{}")  # what lies beside a file does not change its hash
    for other in (library, neighbour, Library(folder, index=index)):
        other.refresh()
        assert other.find("one.safetensors").known_sha256 == passport.sha256
        assert other.find("one.safetensors").hash == passport.hash
    assert made == [1]
    state = (folder / "one.safetensors").stat()
    os.utime(folder / "one.safetensors", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    library.refresh()
    assert library.find("one.safetensors").known_sha256 == ""


def test_threads_share_a_library(tmp_path):
    library = Library(models(tmp_path), index=tmp_path / "models.sqlite")
    wrong = []

    def use():
        for _ in range(5):
            library.refresh()
            if len(library.passports()) != 3 or list(library.shelf("loras")) != ["cat"]:
                wrong.append(1)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
