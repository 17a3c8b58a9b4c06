"""Names of upscalers: the built-in ones and everything that the library lists."""

from pathlib import Path

from tests.header_only import write_tensors
from webui.library import Library
from webui.upscalers import BUILT_IN, upscaler_files, upscaler_names


def test_the_built_in_upscalers_are_there_without_a_folder(tmp_path: Path) -> None:
    assert (
        upscaler_names(Library(tmp_path / "checkpoints").shelf("upscalers"))
        == BUILT_IN
        == ("None", "Lanczos", "Nearest")
    )


def test_every_kind_of_file_that_is_listed_is_offered_from_every_tree(tmp_path: Path) -> None:
    own, other = tmp_path / "models/upscalers", tmp_path / "a1111/models/ESRGAN"
    for folder in (own, other):
        folder.mkdir(parents=True)
    for name in ("4x-Sharp.v1.2.pth", "b.safetensors", "c.sft", "d.ckpt", "e.bin", "f.pt", "notes.txt", "Lanczos.pth"):
        (own / name).touch()
    (other / "b.pth").touch()
    (other / "theirs.pth").touch()
    shelf = Library(tmp_path / "models/checkpoints", extra=[tmp_path / "a1111"]).shelf("upscalers")
    assert upscaler_names(shelf) == (*BUILT_IN, "4x-Sharp.v1.2", "b", "c", "d", "e", "f", "a1111/b", "theirs")
    assert upscaler_files(shelf)["b"] == own / "b.safetensors"


def test_what_restores_faces_enlarges_nothing(tmp_path: Path) -> None:
    write_tensors(tmp_path / "upscalers/codeformer.safetensors", FACES)
    shelf = Library(tmp_path / "checkpoints").shelf("upscalers")
    assert shelf["codeformer"].kind == "face-restorer"
    assert upscaler_names(shelf) == BUILT_IN


FACES = {
    "encoder.blocks.0.weight": (64, 3, 3, 3),
    "position_emb": (256, 512),
    "quantize.embedding.weight": (1024, 256),
    "idx_pred_layer.1.weight": (1024, 512),
    "fuse_convs_dict.16.scale.0.weight": (512, 512, 3, 3),
}
