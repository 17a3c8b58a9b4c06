"""Names of upscalers: the built-in ones and the files of a folder."""

from pathlib import Path

from webui.upscalers import upscaler_files, upscaler_names


def test_the_built_in_upscalers_are_there_without_a_folder(tmp_path: Path) -> None:
    assert upscaler_names(tmp_path) == ("None", "Lanczos", "Nearest")


def test_files_are_named_without_their_suffix_and_safetensors_come_before_pickles(tmp_path: Path) -> None:
    folder = tmp_path / "upscalers"
    folder.mkdir()
    for name in ("b.pth", "4x-Sharp.v1.2.pth", "b.safetensors", "c.sft", "notes.txt", "Lanczos.pth"):
        (folder / name).touch()
    assert upscaler_names(tmp_path) == ("None", "Lanczos", "Nearest", "4x-Sharp.v1.2", "b", "c")
    assert upscaler_files(folder)["b"] == folder / "b.safetensors"
