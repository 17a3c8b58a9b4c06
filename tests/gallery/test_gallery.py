"""The gallery over a real folder of pictures: what is found, kept, moved, deleted and brought back."""

import io
import sqlite3
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.gallery.conftest import PATIENCE
from tests.gallery.pictures import draw, of_a1111, of_easel, png, save
from webui.errors import CannotStart, Conflict, InvalidRequest, NotFound, UnknownName
from webui.gallery import Gallery, Query
from webui.gallery.search import match_expressions


def names(gallery: Gallery, limit: int = 100, **query: object) -> list[str]:
    assert gallery.refresh(PATIENCE)
    return [entry.name for entry in gallery.page(Query(**query), limit=limit).entries]  # type: ignore[arg-type]


def id_of(gallery: Gallery, name: str) -> str:
    assert gallery.refresh(PATIENCE)
    return next(entry.id for entry in gallery.page(Query(), limit=100).entries if entry.name == name)


def fill(home: Path) -> None:
    """Four pictures, a.png the newest."""
    save(home / "outputs/2026-01-02/a.png", of_easel(1, prompt="a red cat on a mat", sampler="Euler a"))
    save(home / "outputs/2026-01-02/b.png", of_a1111("long_hair, cathedral", 1234), age=60)
    save(
        home / "outputs/old/deep/c.png", of_easel(3, prompt="고양이가 잠을 잔다", negative_prompt="dog"), age=86400 * 40
    )
    save(home / "outputs/d.jpg", _jpeg(), age=86400 * 50)


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    draw("blue").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.row("F7")
def test_pictures_of_every_folder_and_tool_are_there_newest_first(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    save(home / "outputs/notes.png", b"no picture at all")
    (home / "outputs/link.png").symlink_to(home / "outputs/d.jpg")
    gallery = opened()
    assert names(gallery) == ["a.png", "b.png", "c.png", "d.jpg"]
    first, second, *_, last = gallery.page(Query(), limit=10).entries
    assert (first.tool, first.checkpoint, first.sampler, first.seed) == ("Easel", "easel", "Euler a", 1)
    assert (second.tool, second.checkpoint, second.seed) == ("AUTOMATIC1111", "deliberate_v2", 1234)
    assert (last.tool, last.prompt, last.seed, last.media_type) == ("", "", None, "image/jpeg")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cat", ["a.png", "b.png"]),
        ("red cat", ["a.png"]),
        ('"cat on"', ["a.png"]),
        ('"on cat"', []),
        ("CAT -cathedral", ["a.png"]),
        ("-cat", ["c.png", "d.jpg"]),
        ("고양이", ["c.png"]),
        ("long_hair", ["b.png"]),
        ("negative:dog", ["c.png"]),
        ("prompt:dog", []),
        ("seed:1", ["a.png"]),
        ("1234", ["b.png"]),
        ("model:deliberate", ["b.png"]),
        ("date:2026-01", ["a.png", "b.png"]),
        ("sampler:euler", ["a.png", "b.png"]),
        ("tool:easel", ["a.png", "c.png"]),
        ("", ["a.png", "b.png", "c.png", "d.jpg"]),
        ("!!! ()", ["a.png", "b.png", "c.png", "d.jpg"]),
        ('(masterpiece:1.2) OR AND NOT NEAR( "', []),
        ("unknown:cat", []),
    ],
)
def test_words_phrases_and_places_are_found(
    home: Path, opened: Callable[..., Gallery], text: str, found: list[str]
) -> None:
    fill(home)
    assert names(opened(), text=text) == found


def test_no_search_is_a_syntax_error() -> None:
    index = sqlite3.connect(":memory:")
    index.execute(
        "CREATE VIRTUAL TABLE texts USING fts5 (prompt, negative_prompt, checkpoint, sampler, seed, date, tool)"
    )
    for text in [
        '"',
        '""',
        "a*",
        "-",
        "--a",
        "a:b:c",
        "{a}",
        "^a",
        "a\0b",
        "'; DROP",
        "seed:",
        'model:"x y',
        "+",
        "a-b",
    ]:
        for expression in match_expressions(text):
            if expression:
                index.execute("SELECT 1 FROM texts WHERE texts MATCH ?", (expression,)).fetchall()


def test_filters_and_orders_go_together_with_words(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    gallery = opened()
    gallery.marks.star([id_of(gallery, "a.png"), id_of(gallery, "c.png")], True)
    assert names(gallery, starred=True) == ["a.png", "c.png"]
    assert names(gallery, starred=True, text="cat") == ["a.png"]
    assert names(gallery, checkpoint="easel", sort="oldest") == ["c.png", "a.png"]
    assert names(gallery, tool="AUTOMATIC1111") == ["b.png"]
    assert names(gallery, sort="seed") == ["d.jpg", "a.png", "c.png", "b.png"]
    with pytest.raises(UnknownName, match="newest"):
        Query(sort="best")
    assert dict(gallery.facets()["checkpoint"]) == {"easel": 2, "deliberate_v2": 1}


@pytest.mark.parametrize("text", [{}, {"text": "cat"}])
@pytest.mark.parametrize("sort", [{}, {"sort": "oldest"}, {"sort": "seed"}, {"sort": "largest"}])
def test_pages_go_through_everything_once(
    home: Path, opened: Callable[..., Gallery], text: dict[str, str], sort: dict[str, str]
) -> None:
    query = {**text, **sort}
    for seed in range(23):
        save(home / f"outputs/{seed:02d}.png", of_easel(seed // 3, prompt="cat"), age=float(seed // 5))
    gallery, seen, cursor = opened(), [], None
    while True:
        page = gallery.page(Query(**query), limit=5, cursor=cursor)  # type: ignore[arg-type]
        seen += [entry.name for entry in page.entries]
        assert page.total == 23
        if (cursor := page.next) is None:
            break
    assert sorted(seen) == [f"{seed:02d}.png" for seed in range(23)]
    by_offset = [
        entry.name
        for at in range(0, 23, 5)
        for entry in gallery.page(Query(**query), limit=5, offset=at).entries  # type: ignore[arg-type]
    ]
    assert by_offset == seen
    for wrong in ("x", "bnVsbA", "WzFd"):
        with pytest.raises(InvalidRequest, match="no place"):
            gallery.page(Query(), limit=5, cursor=wrong)


def test_the_folder_is_followed_and_a_moved_picture_stays_what_it_was(
    home: Path, opened: Callable[..., Gallery]
) -> None:
    fill(home)
    gallery = opened()
    picture = id_of(gallery, "b.png")
    gallery.marks.star([picture], True)
    (home / "outputs/2026-01-02/b.png").rename(home / "outputs/old/moved.png")
    (home / "outputs/d.jpg").unlink()
    save(home / "outputs/new.png", of_easel(9), age=-5)
    assert names(gallery) == ["new.png", "a.png", "moved.png", "c.png"]
    assert id_of(gallery, "moved.png") == picture
    (home / "outputs/old").rename(home / "outputs/renamed")
    assert names(gallery, starred=True) == ["moved.png"]
    assert gallery.content(picture) == (home / "outputs/renamed/moved.png").read_bytes()


def test_files_of_the_same_moment_all_have_a_place(home: Path, opened: Callable[..., Gallery]) -> None:
    ages = [0.0] * 6 + [1.0] * 6 + [0.000_001] * 3 + [0.999_999] * 3 + [1.000_001] * 3
    for number, age in enumerate(ages):
        save(home / f"outputs/{number:02d}.png", of_easel(number), age=age)
    assert len(names(opened())) == len(ages)


def test_a_picture_that_was_written_over_is_read_again_at_a_restart(home: Path, opened: Callable[..., Gallery]) -> None:
    path = save(home / "outputs/x.png", of_easel(1, prompt="before"), age=100)
    gallery = opened()
    picture = id_of(gallery, "x.png")
    save(path, of_easel(2, prompt="afterwards"))
    gallery = opened()
    assert gallery.one(picture).prompt == "afterwards"
    assert names(gallery, text="before") == []


def test_the_index_is_made_again_when_it_is_lost_or_broken_and_the_marks_stay(
    home: Path, opened: Callable[..., Gallery]
) -> None:
    fill(home)
    gallery = opened()
    picture = id_of(gallery, "a.png")
    gallery.marks.star([picture], True)
    collection = gallery.marks.create("Best")
    gallery.marks.collect(collection.id, [picture], True)
    gallery.close()
    for damage in (b"", b"garbage" * 2000):
        for path in (home / "data").glob("gallery.sqlite3*"):
            path.unlink()
        (home / "data/gallery.sqlite3").write_bytes(damage)
        gallery = opened()
        assert names(gallery) == ["a.png", "b.png", "c.png", "d.jpg"]
        assert names(gallery, starred=True) == names(gallery, collection=collection.id) == ["a.png"]


def test_an_index_that_is_damaged_in_the_middle_heals(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    gallery = opened()
    with sqlite3.connect(home / "data/gallery.sqlite3") as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with (home / "data/gallery.sqlite3").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 30)
    gallery = opened()
    assert names(gallery, text="cat") == ["a.png", "b.png"]


def test_a_place_where_nothing_can_be_kept_is_told(home: Path, opened: Callable[..., Gallery]) -> None:
    (home / "data").touch()
    with pytest.raises(CannotStart, match="--data-dir"):
        opened()


def test_a_disk_that_is_away_forgets_nothing(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    gallery = opened()
    (home / "outputs").rename(home / "away")
    assert len(names(gallery)) == 4
    with pytest.raises(NotFound, match="outputs folder"):
        gallery.content(id_of(gallery, "a.png"))


def test_ids_of_jobs_are_the_gallerys_ids(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    gallery = opened(known_id={"2026-01-02/a.png": "abc"}.get)
    assert id_of(gallery, "a.png") == "abc"


# Trash.


def test_deleting_moves_to_the_trash_and_undo_brings_everything_back(
    home: Path, opened: Callable[..., Gallery]
) -> None:
    fill(home)
    gallery = opened()
    picture = id_of(gallery, "a.png")
    gallery.marks.star([picture], True)
    small = gallery.thumbnail(picture)
    assert gallery.delete([picture, "not there"]) == [picture]
    assert names(gallery) == ["b.png", "c.png", "d.jpg"]
    assert not (home / "outputs/2026-01-02/a.png").exists()
    assert [trashed.name for trashed in gallery.trash.all()] == ["a.png"]
    assert gallery.thumbnail(picture) == small
    gallery = opened()
    assert names(gallery) == ["b.png", "c.png", "d.jpg"], "also after a restart"
    assert gallery.restore([picture]) == [picture]
    assert names(gallery, starred=True) == ["a.png"]
    assert id_of(gallery, "a.png") == picture
    assert gallery.trash.all() == []


def test_a_picture_whose_place_is_taken_comes_back_beside_it(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    gallery = opened()
    picture = id_of(gallery, "a.png")
    gallery.delete([picture])
    save(home / "outputs/2026-01-02/a.png", of_easel(77), age=5)
    gallery.restore([picture])
    assert names(gallery)[:2] == ["a (2).png", "a.png"]
    assert id_of(gallery, "a (2).png") == picture


def test_a_picture_made_again_at_the_place_of_a_deleted_one_is_another(
    home: Path, opened: Callable[..., Gallery]
) -> None:
    """Two outputs folders put together, say; and the same seed gives the same bytes."""
    fill(home)
    known = {"2026-01-02/a.png": "first"}
    gallery = opened(known_id=known.get)
    assert gallery.delete(["first"]) == ["first"]
    known["2026-01-02/a.png"] = "second"
    save(home / "outputs/2026-01-02/a.png", of_easel(1, prompt="a red cat on a mat", sampler="Euler a"))
    assert id_of(gallery, "a.png") == "second"
    assert gallery.delete(["second"]) == ["second"]
    assert gallery.restore(["first", "second"]) == ["first", "second"]
    assert (id_of(gallery, "a.png"), id_of(gallery, "a (2).png")) == ("first", "second")


def test_the_trash_is_emptied_on_command_and_after_thirty_days(
    home: Path, opened: Callable[..., Gallery], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home)
    forgotten: list[str] = []
    gallery = opened(forget=forgotten.extend)
    first, second = id_of(gallery, "a.png"), id_of(gallery, "b.png")
    gallery.delete([first])
    assert gallery.empty_trash() == 1
    assert not list((home / "outputs/.trash").iterdir())
    assert gallery.restore([first]) == []
    gallery.delete([second])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 29 * 86400)
    assert len(opened().trash.all()) == 1
    monkeypatch.setattr(time, "time", lambda: now + 31 * 86400)
    assert opened(forget=forgotten.extend).trash.all() == []
    assert forgotten == [first, second]


def test_a_crash_between_row_and_file_loses_no_picture(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    gallery = opened()
    picture = id_of(gallery, "a.png")
    gallery.delete([picture])
    (home / f"outputs/.trash/{picture}.png").rename(home / "outputs/2026-01-02/a.png")
    gallery = opened()
    assert gallery.trash.all() == []
    assert "a.png" in names(gallery)


# Collections, small pictures, downloads.


def test_collections_have_names_of_their_own(home: Path, opened: Callable[..., Gallery]) -> None:
    fill(home)
    gallery = opened()
    best = gallery.marks.create("  My   best ")
    assert best.name == "My best"
    with pytest.raises(Conflict, match="already"):
        gallery.marks.create("my BEST")
    for name in ("", " ", "x" * 81):
        with pytest.raises(InvalidRequest, match="1 to 80"):
            gallery.marks.create(name)
    pictures = [id_of(gallery, "a.png"), id_of(gallery, "b.png")]
    gallery.marks.collect(best.id, [*pictures, "not there"], True)
    gallery.marks.collect(best.id, pictures[:1], False)
    gallery.marks.rename(best.id, "Good")
    assert [(each.name, each.pictures) for each in gallery.marks.collections()] == [("Good", 1)]
    assert names(gallery, collection=best.id) == ["b.png"]
    gallery.marks.delete(best.id)
    with pytest.raises(NotFound, match="collection"):
        gallery.marks.collect(best.id, pictures, True)
    assert len(names(gallery)) == 4


def test_small_pictures_are_made_once_and_go_with_their_picture(home: Path, opened: Callable[..., Gallery]) -> None:
    save(home / "outputs/wide.png", png(draw("green", (900, 300))))
    gallery = opened()
    picture = id_of(gallery, "wide.png")
    with Image.open(io.BytesIO(gallery.thumbnail(picture))) as small:
        assert (small.format, small.size) == ("WEBP", (256, 85))
    [kept] = (home / "data/thumbnails").rglob("*.webp")
    kept.write_bytes(b"kept")
    assert gallery.thumbnail(picture) == b"kept"
    (home / "outputs/wide.png").unlink()
    assert names(gallery) == []
    assert not kept.exists()


@pytest.mark.row("M8")
def test_a_privacy_copy_has_the_pixels_and_nothing_else(home: Path, opened: Callable[..., Gallery]) -> None:
    save(home / "outputs/a.png", of_easel(5, prompt="a secret"))
    gallery = opened()
    bare = gallery.bare(id_of(gallery, "a.png"))
    assert b"secret" not in bare
    assert b"parameters" not in bare
    with Image.open(io.BytesIO(bare)) as copy:
        assert (copy.info, copy.getpixel((0, 0))) == ({}, (5, 0, 7))


@pytest.mark.row("M8")
def test_a_text_hidden_in_the_pixels_does_not_survive_in_a_privacy_copy(
    home: Path, opened: Callable[..., Gallery]
) -> None:
    from webui.metadata.stealth import hidden_text

    payload = b"a secret"
    data = b"stealth_rgbinfo" + (len(payload) * 8).to_bytes(4) + payload
    pixels = np.full((16, 16, 3), 100, np.uint8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    columns = pixels.transpose(1, 0, 2).reshape(-1)
    columns[: len(bits)] += bits
    save(home / "outputs/h.png", png(Image.fromarray(columns.reshape(16, 16, 3).transpose(1, 0, 2))))
    assert hidden_text(home / "outputs/h.png") == "a secret"
    gallery = opened()
    assert hidden_text(gallery.bare(id_of(gallery, "h.png"))) == ""


@pytest.mark.row("F14")
def test_many_pictures_come_as_one_zip_with_names_of_their_own(home: Path, opened: Callable[..., Gallery]) -> None:
    save(home / "outputs/1/same.png", of_easel(1, prompt="a secret"))
    save(home / "outputs/2/same.png", of_easel(2), age=5)
    gallery = opened()
    ids = [entry.id for entry in gallery.page(Query(), limit=9).entries]
    export, count = gallery.export([*ids, "not there"], bare=False)
    (home / "outputs/2/same.png").rename(home / "outputs/2/other.png")
    pieces = list(gallery.exported(export))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert (count, archive.namelist(), archive.testzip()) == (2, ["same.png"], None), "what is gone is left out"
    assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
    assert archive.read("same.png") == (home / "outputs/1/same.png").read_bytes()
    assert names(gallery)
    export, _ = gallery.export(ids, bare=True)
    bare = zipfile.ZipFile(io.BytesIO(b"".join(gallery.exported(export))))
    assert bare.namelist() == ["00001.png", "00002.png"]
    assert b"secret" not in bare.read("00001.png")
    with pytest.raises(NotFound, match="download is over"):
        gallery.exported("nothing")
    with pytest.raises(NotFound, match="None of"):
        gallery.export(["nothing"], bare=False)
