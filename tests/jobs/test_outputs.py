"""Pictures as files: complete or absent, never overwritten, never lost."""

import os
import re
import threading
from pathlib import Path

import pytest

from webui.errors import CannotSave, NotFound
from webui.jobs.outputs import PNG_MAGIC, Outputs, Place

PNG = PNG_MAGIC + b"a picture"


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "outputs", tmp_path / "unsaved")


def save(outputs: Outputs, png: bytes = PNG, seed: int = 5) -> str:
    return outputs.save(png, Place.usual(seed), lambda path: path)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_are_numbered_by_day_and_carry_their_seed(outputs: Outputs) -> None:
    first, second = save(outputs, seed=5), save(outputs, seed=6)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/00001-5\.png", first)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/00002-6\.png", second)
    assert outputs.read(first) == PNG
    assert files(outputs.outputs_dir) == [first, second]


@pytest.mark.row("M12")
def test_the_number_goes_on_after_what_is_there_and_nothing_is_overwritten(outputs: Outputs) -> None:
    first = outputs.outputs_dir / save(outputs)
    mine = first.with_name("00041-mine.png")
    mine.write_bytes(b"mine")
    (first.parent / "notes.txt").write_text("not numbered")
    assert save(outputs).endswith("/00042-5.png")
    assert mine.read_bytes() == b"mine"


@pytest.mark.row("M12")
def test_a_name_is_never_given_again(tmp_path: Path) -> None:
    days: dict[str, list[str]] = {}
    outputs = Outputs(tmp_path / "outputs", tmp_path / "unsaved", names_of=lambda day: days.get(day, []))
    first = save(outputs)
    day, name = first.split("/")
    days[day] = [name]
    (outputs.outputs_dir / first).unlink()
    assert save(outputs) == f"{day}/00002-5.png"
    assert outputs.keep_unsaved(PNG, Place.usual(6))[0] == f"{day}/00003-6.png"


@pytest.mark.row("M12")
def test_two_servers_can_share_an_outputs_folder(tmp_path: Path) -> None:
    paths: list[str] = []
    servers = [Outputs(tmp_path / "outputs", tmp_path / f"unsaved{n}") for n in range(4)]
    threads = [
        threading.Thread(target=lambda server=server: paths.extend(save(server) for _ in range(10)))
        for server in servers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 40
    assert files(tmp_path / "outputs") == sorted(paths)


def test_a_picture_appears_only_after_it_was_recorded(outputs: Outputs) -> None:
    def record(path: str) -> None:
        assert not (outputs.outputs_dir / path).exists()
        assert (outputs.outputs_dir / f"{path}.partial").read_bytes() == PNG

    outputs.save(PNG, Place.usual(5), record)


def test_nothing_stays_when_the_record_fails(outputs: Outputs) -> None:
    def record(path: str) -> None:
        raise ValueError("the store does not want it")

    with pytest.raises(ValueError, match="does not want"):
        outputs.save(PNG, Place.usual(5), record)
    assert files(outputs.outputs_dir) == []


def test_after_a_crash_recorded_partials_are_finished_and_others_removed(outputs: Outputs) -> None:
    day = outputs.outputs_dir / "2026-01-01"
    day.mkdir(parents=True)
    for name in ("00001-5.png.partial", "00002-6.png.partial", "00003-7.png.partial", "00003-7.png", "x.partial"):
        (day / name).write_bytes(PNG)
        os.utime(day / name, (0, 0))
    (day / "00004-8.png.partial").write_bytes(PNG)
    outputs.sweep(lambda path: path in ("2026-01-01/00001-5.png", "2026-01-01/00003-7.png"))
    assert files(day) == ["00001-5.png", "00003-7.png", "00004-8.png.partial", "x.partial"], (
        "a new partial may be another server's, and other names are not ours at all"
    )


def test_a_folder_that_takes_nothing_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    with pytest.raises(CannotSave, match="--outputs-dir"):
        save(Outputs(tmp_path / "outputs", tmp_path / "unsaved"))


def test_a_full_disk_leaves_nothing_half_written(outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CannotSave, match="No space left"):
        save(outputs)
    assert files(outputs.outputs_dir) == []


def test_an_unsaved_picture_can_be_read_and_moves_as_soon_as_the_folder_takes_it(
    tmp_path: Path, outputs: Outputs
) -> None:
    outputs.outputs_dir.write_text("a file where the folder should be")
    path, where = outputs.keep_unsaved(PNG, Place.usual(5))
    assert str(tmp_path / "unsaved" / path) in str(where)
    assert outputs.read(path) == PNG
    outputs.sweep(lambda path: True)
    assert outputs.read(path) == PNG, "the folder still takes nothing"
    outputs.outputs_dir.unlink()
    outputs.sweep(lambda path: True)
    assert files(outputs.outputs_dir) == [path]
    assert files(tmp_path / "unsaved") == []
    assert outputs.read(path) == PNG


def test_a_picture_that_no_folder_takes_stays_in_memory(tmp_path: Path) -> None:
    for name in ("outputs", "unsaved"):
        (tmp_path / name).write_text("a file where the folder should be")
    outputs = Outputs(tmp_path / "outputs", tmp_path / "unsaved")
    path, where = outputs.keep_unsaved(PNG, Place.usual(5))
    assert "memory" in str(where)
    assert outputs.read(path) == PNG
    (tmp_path / "outputs").unlink()
    later = save(outputs)
    assert files(tmp_path / "outputs") == sorted([later, path])


@pytest.mark.parametrize("trap", ["missing", "link", "pipe", "text"])
@pytest.mark.row("F7")
def test_only_real_pictures_are_read(outputs: Outputs, tmp_path: Path, trap: str) -> None:
    (tmp_path / "secret").write_bytes(PNG)
    path = outputs.outputs_dir / "2026-01-01" / "00001-5.png"
    path.parent.mkdir(parents=True)
    if trap == "link":
        path.symlink_to(tmp_path / "secret")
    elif trap == "pipe":
        os.mkfifo(path)
    elif trap == "text":
        path.write_text("root:x:0:0")
    with pytest.raises(NotFound):
        outputs.read("2026-01-01/00001-5.png")
