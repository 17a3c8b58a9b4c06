"""What the gallery survives: crashes at the wrong moment, a disk that takes nothing, files that are odd."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gallery.conftest import PATIENCE
from tests.gallery.pictures import of_easel, of_text, save
from tests.gallery.test_gallery import fill, id_of, names
from webui.errors import CannotSaveGallery
from webui.gallery import Gallery, Query, trash
from webui.gallery.indexing import Indexer


class PowerCut(BaseException):
    """Ends everything at once."""


def put_refusing(home: Path, statement: str) -> None:
    """Have every such change of the index fail, as on a full disk; the marks' file is another."""
    with sqlite3.connect(home / "data/gallery.sqlite3") as other:
        other.execute(
            f"CREATE TRIGGER refusing BEFORE {statement} ON pictures BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
    other.close()


def test_a_crash_right_after_a_file_went_into_the_trash_loses_no_picture(
    home: Path, opened: Callable[..., Gallery], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home)
    gallery = opened()
    picture, move = id_of(gallery, "a.png"), trash._move

    def move_and_die(source: Path, target: Path) -> None:
        move(source, target)
        raise PowerCut

    monkeypatch.setattr(trash, "_move", move_and_die)
    with pytest.raises(PowerCut):
        gallery.delete([picture])
    monkeypatch.undo()
    gallery = opened()
    assert [(each.id, each.name) for each in gallery.trash.all()] == [(picture, "a.png")]
    assert "a.png" not in names(gallery)
    assert gallery.restore([picture]) == [picture]
    assert id_of(gallery, "a.png") == picture


def test_a_disk_that_takes_no_change_of_the_index_leaves_a_deleted_picture_in_the_trash(
    home: Path, opened: Callable[..., Gallery]
) -> None:
    fill(home)
    gallery = opened()
    picture = id_of(gallery, "a.png")
    put_refusing(home, "DELETE")
    with pytest.raises(CannotSaveGallery):
        gallery.delete([picture])
    assert [each.id for each in gallery.trash.all()] == [picture]
    assert gallery.content(picture)[:4] == b"\x89PNG"


def test_a_file_that_cannot_be_moved_stays_in_the_gallery(
    home: Path, opened: Callable[..., Gallery], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home)
    gallery = opened()
    picture = id_of(gallery, "a.png")
    (home / "outputs/.trash").write_text("a file where the folder should be")
    with pytest.raises(CannotSaveGallery):
        gallery.delete([picture])
    assert gallery.trash.all() == []
    assert id_of(gallery, "a.png") == picture


def test_files_in_the_trash_that_nobody_knows_can_be_brought_back(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    gallery = opened()
    picture, there = id_of(gallery, "c.png"), id_of(gallery, "a.png")
    gallery.close()
    folder = home / "outputs/.trash"
    folder.mkdir()
    (home / "outputs/old/deep/c.png").rename(folder / f"{picture}.png")  # the index still knows where it was
    save(folder / "lost.png", of_easel(5, prompt="a lost one"))
    save(folder / f"{there}.png", (home / "outputs/2026-01-02/a.png").read_bytes())  # only copied
    (folder / "notes.txt").write_text("not a picture")
    (folder / "broken.png").write_text("not a picture either")
    gallery = opened()
    assert {(each.id, each.folder, each.name) for each in gallery.trash.all()} == {
        (picture, "old/deep", "c.png"),
        ("lost", "", "lost.png"),
    }
    assert gallery.trash.one("lost").prompt == "a lost one"  # type: ignore[union-attr]
    assert names(gallery) == ["a.png", "b.png", "d.jpg"]
    assert gallery.restore([picture, "lost"]) == [picture, "lost"]
    assert {"c.png", "lost.png"} <= set(names(gallery))
    assert (home / "outputs/old/deep/c.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.row("F15")
def test_names_that_are_no_text_are_passed_over(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    for name in (b"bad\xff.png", b"bad\xfe/inside.png"):
        save(home / "outputs" / os.fsdecode(name), of_easel(8))
    assert names(opened()) == ["a.png", "b.png", "c.png", "d.jpg"]


@pytest.mark.parametrize("field", ["Model", "Sampler"])
def test_half_a_character_in_a_text_stops_nothing(home: Path, opened: Callable[..., Gallery], field: str) -> None:
    fill(home)
    text = f'an odd one\nSteps: 20, CFG scale: 7, Seed: 1, {field}: "a \\udfff"'
    save(home / "outputs/odd.png", of_text(text), age=-5)
    gallery = opened()
    assert names(gallery)[:2] == ["odd.png", "a.png"]
    odd = gallery.one(id_of(gallery, "odd.png"))
    assert (odd.checkpoint or odd.sampler) == "a \ufffd"


def test_an_error_of_ours_does_not_end_the_looking(
    home: Path, opened: Callable[..., Gallery], monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = opened()

    def fail(*_: object, **__: object) -> None:
        raise ValueError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Indexer, "refresh", fail)
        assert gallery.refresh(PATIENCE)
    fill(home)
    assert gallery.refresh(PATIENCE)
    assert gallery.page(Query(), limit=1).total == 4
