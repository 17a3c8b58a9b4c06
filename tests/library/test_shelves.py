"""What lies beside the checkpoints: LoRAs, embeddings, VAEs, ControlNets, upscalers."""

import pytest

from tests.header_only import (
    LORA,
    SD1,
    VAE,
    pickle_of,
    write_checkpoint,
    write_pickle,
    write_safetensors,
    write_tensors,
)
from webui.library import Library, metadata_of

LORA_XL = {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (8, 1280)}


def shelf(models, name):
    return Library(models / "checkpoints").shelf(name)


def test_a_lora_tells_its_family_title_alias_and_words(tmp_path):
    metadata = {
        "modelspec.title": "A cat", "ss_output_name": "cat_v1", "modelspec.trigger_phrase": "sks cat, ginger",
        "ss_tag_frequency": '{"1_cats": {"ginger": 9, "outdoors": 2}, "2_cats": {"outdoors": 30, " tail ": 3}}',
    }  # fmt: skip
    write_tensors(tmp_path / "loras/animals/cat.safetensors", LORA, metadata)
    (tmp_path / "loras/animals/cat.json").write_text('{"activation text": "meow"}')
    (tmp_path / "loras/animals/cat.preview.png").touch()
    item = shelf(tmp_path, "loras")["cat"]
    assert (item.kind, item.family, item.title, item.alias) == ("lora", "sd1", "A cat", "cat_v1")
    assert item.words == ("meow", "sks cat", "ginger", "outdoors", "tail")
    assert item.preview is not None
    assert item.preview.name == "cat.preview.png"
    assert item.problem is None


@pytest.mark.parametrize(
    ("shapes", "metadata", "family"),
    [
        # The embedded model's own say what other tools know them as; their shapes fit no Stable Diffusion 1.
        (dict.fromkeys(LORA, (8, 256)), {"ss_base_model_version": "sd_v1"}, "sd"),
        (LORA, {}, "sd1"),
        (LORA_XL, {}, "sdxl"),
        ({"lora_unet_x_attn2_to_v.lora_down.weight": (4, 2048)}, {}, "sdxl"),
        ({"unet.up_blocks.1.attn2.to_k.lora_A.weight": (4, 1024)}, {}, "sd2"),
        ({"unet.up_blocks.1.attn2.processor.to_k_lora.down.weight": (4, 1024)}, {}, "sd2"),
        ({"lora_unet_x_attn2_to_k.hada_w1_b": (4, 768), "lora_unet_x_attn2_to_k.hada_w1_a": (320, 4)}, {}, "sd1"),
        ({"lora_unet_x_ff.lora_down.weight": (4, 320)}, {"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"lora_unet_x_ff.lora_down.weight": (4, 320)}, {"modelspec.architecture": "stable-diffusion-v1/lora"}, "sd1"),
        ({"lora_unet_x_ff.lora_down.weight": (4, 320)}, {}, ""),
    ],
)
def test_the_family_of_a_lora_comes_from_shapes_then_from_its_metadata(tmp_path, shapes, metadata, family):
    write_tensors(tmp_path / "loras/one.safetensors", shapes, metadata)
    assert shelf(tmp_path, "loras")["one"].family == family


def test_a_lora_for_a_newer_family_says_so(tmp_path):
    shapes = {"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": (16, 3072)}
    write_tensors(tmp_path / "loras/one.safetensors", shapes, {"modelspec.architecture": "flux-1-dev/lora"})
    assert "made for flux-1-dev/lora, which Easel does not draw with" in str(shelf(tmp_path, "loras")["one"].problem)


@pytest.mark.parametrize(
    "tags", ["[", "[1]", '{"a": 3}', '{"a": {"b": "x"}}', "[" * 100_000, '{"a": {"b": null}}', '{"a": {"b": 1e999}}']
)
def test_senseless_metadata_gives_no_words(tmp_path, tags):
    write_tensors(tmp_path / "loras/one.safetensors", LORA, {"ss_tag_frequency": tags})
    assert shelf(tmp_path, "loras")["one"].words == ()


def test_metadata_is_cut_short(tmp_path):
    path = write_tensors(tmp_path / "one.safetensors", LORA, {f"k{n}": "x" * 9000 for n in range(500)})
    found = metadata_of(path)
    assert (len(found), max(map(len, found.values()))) == (200, 2000)
    assert metadata_of(tmp_path / "gone.safetensors") == {}


@pytest.mark.parametrize(
    ("shelf_name", "shapes", "kind", "family"),
    [
        ("embeddings", {"emb_params": (3, 768)}, "embedding", "sd1"),
        ("embeddings", {"emb_params": (3, 1024)}, "embedding", "sd2"),
        ("embeddings", {"clip_l": (3, 768), "clip_g": (3, 1280)}, "embedding", "sdxl"),
        ("embeddings", {"<cat-toy>": (768,)}, "embedding", "sd1"),
        ("vae", VAE, "vae", ""),
        ("controlnets", {"control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768)},
         "controlnet", "sd1"),
        ("controlnets", {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
                         "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, 2048)},
         "controlnet", "sdxl"),
        ("controlnets", {**SD1, "control_model.time_embed.0.weight": (1280, 320)}, "controlnet", "sd1"),
        ("controlnets", {"image_proj.proj.weight": (1, 1), "ip_adapter.1.to_k_ip.weight": (1, 1)}, "ip-adapter", ""),
        ("upscalers", {"conv_first.weight": (64, 3, 3, 3)}, "upscaler", ""),
        ("upscalers", {"model.0.weight": (64, 3, 3, 3)}, "upscaler", ""),
        ("upscalers", {"body.0.weight": (64, 3, 3, 3)}, "upscaler", ""),
        ("upscalers", {"something.of.spandrel": (1,)}, "", ""),
    ],
)  # fmt: skip
def test_every_shelf_tells_kind_and_family(tmp_path, shelf_name, shapes, kind, family):
    write_tensors(tmp_path / shelf_name / "one.safetensors", shapes)
    item = shelf(tmp_path, shelf_name)["one"]
    assert (item.kind, item.family, item.problem) == (kind, family, None)


def test_old_files_of_torch_are_read_on_every_shelf(tmp_path):
    write_pickle(tmp_path / "upscalers/4x.pth", pickle_of({"params_ema.conv_first.weight": (64, 3, 3, 3)}))
    nested = b"\x80\x02}(X\x0f\0\0\0string_to_param" + pickle_of({"*": (2, 768)})[2:-1] + b"X\4\0\0\0nameX\3\0\0\0catu."
    write_pickle(tmp_path / "embeddings/word.pt", nested)
    assert shelf(tmp_path, "embeddings")["word"].title == "cat"
    assert shelf(tmp_path, "embeddings")["word"].family == "sd1"
    assert shelf(tmp_path, "upscalers")["4x"].problem is None


def test_folders_of_diffusers_are_items_of_their_shelf(tmp_path):
    for name in ("controlnets/edges", "vae/fine"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text('{"_class_name": "ControlNetModel", "cross_attention_dim": 768}')
        write_safetensors(tmp_path / name / "diffusion_pytorch_model.safetensors")
    item = shelf(tmp_path, "controlnets")["edges"]
    assert (item.kind, item.family, item.layout) == ("controlnet", "sd1", "folder")
    assert list(shelf(tmp_path, "vae")) == ["fine"]


def test_what_lies_on_the_wrong_shelf_is_told(tmp_path):
    write_tensors(tmp_path / "loras/big.safetensors", SD1)
    write_tensors(tmp_path / "vae/lora.safetensors", LORA)
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings/page.safetensors").write_bytes(b"<html>")
    assert "it is a checkpoint. Move it to models/checkpoints" in str(shelf(tmp_path, "loras")["big"].problem)
    assert "it is a LoRA. Move it to models/loras" in str(shelf(tmp_path, "vae")["lora"].problem)
    assert "an HTML page" in str(shelf(tmp_path, "embeddings")["page"].problem)


def test_items_called_the_same_get_their_folder_in_front(tmp_path):
    for name in ("a/cat.safetensors", "b/cat.safetensors", "b/cat.pt", "dog.safetensors"):
        write_tensors(tmp_path / "loras" / name, LORA)
    assert list(shelf(tmp_path, "loras")) == ["cat", "b/cat", "b/cat.safetensors", "dog"]


def test_shelves_are_looked_at_when_asked_and_again_after_refresh(tmp_path):
    write_checkpoint(tmp_path / "checkpoints/one")
    library = Library(tmp_path / "checkpoints")
    assert dict(library.shelf("loras")) == {}
    write_tensors(tmp_path / "loras/new.safetensors", LORA)
    assert dict(library.shelf("loras")) == {}
    library.refresh()
    assert list(library.shelf("loras")) == ["new"]


@pytest.mark.parametrize("shelf_name", ["vae", "controlnets"])
def test_a_configuration_in_the_folder_itself_hides_no_model(tmp_path, shelf_name):
    write_tensors(tmp_path / shelf_name / "one.safetensors", {"x": (1,)})
    (tmp_path / shelf_name / "two").mkdir()
    write_safetensors(tmp_path / shelf_name / "two/diffusion_pytorch_model.safetensors")
    for folder in ("", "two/"):
        (tmp_path / shelf_name / f"{folder}config.json").write_text("{}")
    assert list(shelf(tmp_path, shelf_name)) == ["one", "two"]


def test_the_short_suffix_of_safetensors_is_read_as_the_long_one(tmp_path):
    write_tensors(tmp_path / "loras/one.sft", LORA, {"modelspec.title": "One"})
    assert (shelf(tmp_path, "loras")["one"].title, shelf(tmp_path, "loras")["one"].problem) == ("One", None)
