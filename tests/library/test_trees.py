"""Model folders of AUTOMATIC1111 and ComfyUI beside Easel's own."""

import pytest

from tests.header_only import LORA, SD1, SDXL, VAE, write_checkpoint, write_tensors
from webui.errors import CannotStart
from webui.library import Library


def a1111(folder):
    write_tensors(folder / "models/Stable-diffusion/dream.safetensors", SD1)
    write_tensors(folder / "models/Lora/cat.safetensors", LORA)
    write_tensors(folder / "models/VAE/fine.safetensors", VAE)
    write_tensors(folder / "embeddings/word.safetensors", {"emb_params": (1, 768)})
    write_tensors(folder / "models/ControlNet/edges.safetensors", {"control_model.time_embed.0.weight": (1, 1)})
    write_tensors(folder / "models/ESRGAN/4x.safetensors", {"conv_first.weight": (64, 3, 3, 3)})
    return folder


def comfy(folder):
    write_tensors(folder / "models/checkpoints/dream.safetensors", SDXL)
    write_tensors(folder / "models/loras/dog.safetensors", LORA)
    write_tensors(folder / "models/vae/other.safetensors", VAE)
    write_tensors(folder / "models/embeddings/term.safetensors", {"emb_params": (1, 768)})
    write_tensors(folder / "models/controlnet/depth.safetensors", {"control_model.time_embed.0.weight": (1, 1)})
    write_tensors(folder / "models/upscale_models/2x.safetensors", {"conv_first.weight": (64, 3, 3, 3)})
    return folder


def everything(library):
    shelves = ("loras", "vae", "embeddings", "controlnets", "upscalers")
    return [list(library.passports()), *(list(library.shelf(shelf)) for shelf in shelves)]


@pytest.mark.parametrize("inside", ["", "models"])
def test_both_trees_are_recognised_by_their_folders(tmp_path, inside):
    own = tmp_path / "own/checkpoints"
    words = ["word"] if not inside else []  # AUTOMATIC1111 keeps embeddings beside its models folder
    found = everything(Library(own, extra=[a1111(tmp_path / "webui") / inside]))
    assert found == [["dream.safetensors"], ["cat"], ["fine"], words, ["edges"], ["4x"]]
    found = everything(Library(own, extra=[comfy(tmp_path / "ComfyUI") / inside]))
    assert found == [["dream.safetensors"], ["dog"], ["other"], ["term"], ["depth"], ["2x"]]


def test_names_that_clash_get_their_trees_name_in_front(tmp_path):
    write_tensors(tmp_path / "own/checkpoints/dream.safetensors", SD1)
    write_tensors(tmp_path / "own/loras/cat.safetensors", LORA)
    trees = [a1111(tmp_path / "webui"), comfy(tmp_path / "ComfyUI"), comfy(tmp_path / "second/ComfyUI")]
    library = Library(tmp_path / "own/checkpoints", extra=trees)
    assert list(library.passports()) == [
        "dream.safetensors", "webui/dream.safetensors", "ComfyUI/dream.safetensors", "ComfyUI 2/dream.safetensors",
    ]  # fmt: skip
    assert library.find("ComfyUI/dream.safetensors").family == "sdxl"
    assert list(library.shelf("loras")) == ["cat", "webui/cat", "dog", "ComfyUI 2/dog"]


def test_a_folder_that_two_trees_share_is_listed_once(tmp_path):
    tree = comfy(tmp_path / "ComfyUI")
    library = Library(tree / "models/checkpoints", extra=[tree, tree / "models"])
    assert list(library.passports()) == ["dream.safetensors"]


def test_extra_model_paths_of_comfyui_are_followed(tmp_path):
    a1111(tmp_path / "webui")
    write_tensors(tmp_path / "webui/models/LyCORIS/lyco.safetensors", LORA)
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text(
        "a111:\n    base_path: webui/\n    checkpoints: models/Stable-diffusion\n"
        "    loras: |\n         models/Lora\n         models/LyCORIS\n    upscale_models: models/ESRGAN\n"
        "    hypernetworks: models/hypernetworks\n# comfyui:\n"
    )
    library = Library(tmp_path / "own/checkpoints", extra=[file])
    assert everything(library) == [["dream.safetensors"], ["cat", "lyco"], [], [], [], ["4x"]]


@pytest.mark.parametrize(
    "content", ["", "[1, 2]", "a: [", "a: b", "a:\n  checkpoints: nowhere", "!!python/name:os.system", "\0"]
)
def test_a_wrong_yaml_is_refused_in_a_sentence(tmp_path, content):
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text(content)
    with pytest.raises(CannotStart, match="--extra-models"):
        Library(tmp_path, extra=[file])


def test_a_folder_without_models_says_what_is_looked_for(tmp_path):
    with pytest.raises(CannotStart, match=r"models/Stable-diffusion.*models/checkpoints"):
        Library(tmp_path, extra=[tmp_path / "nowhere"])


def test_a_folder_checkpoint_of_another_tree_is_found(tmp_path):
    write_checkpoint(tmp_path / "ComfyUI/models/checkpoints/one")
    assert Library(tmp_path / "own", extra=[tmp_path / "ComfyUI"]).find("one").layout == "folder"
