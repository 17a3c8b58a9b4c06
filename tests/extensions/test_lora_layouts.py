"""LoRA files on tiny real checkpoints: every layout finds every layer, and the weights come back to the last bit."""

import pytest

from tests.training.workshop import predictions
from webui.train_requests import TrainLora

pytestmark = pytest.mark.torch

FAMILIES = ("sd1", "sd2", "sdxl")
PREFIXES = {"lora_unet": "unet", "lora_te": "text_encoder", "lora_te1": "text_encoder", "lora_te2": "text_encoder_2"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    from tests.tiny import build_tiny_checkpoint, build_tiny_sd2, build_tiny_sdxl

    folder = tmp_path_factory.mktemp("checkpoints")
    makers = {"sd1": build_tiny_checkpoint, "sd2": build_tiny_sd2, "sdxl": build_tiny_sdxl}
    return {family: make(folder / family) for family, make in makers.items()}


def loaded(path):
    from webui.training.networks import load_networks

    return load_networks(path, "cpu", "fp32")


def networks_of(parts):
    from extensions.lora.mixture import Networks

    towers = tuple(tower.encoder for tower in parts.texts.towers)
    return Networks(parts.unet, parts.unet.config.layers_per_block, towers)


def said(parts):
    """A UNet's answer and the words' encodings."""
    words = parts.texts.encode(["the red cat"])
    return [predictions(parts), words.hidden, *([] if words.pooled is None else [words.pooled])]


def trained(path, layers="all"):
    """(a checkpoint with random additions in it by peft, the additions)."""
    import torch

    from webui.training.lora import add_lora

    parts = loaded(path)
    request = TrainLora(name="mine", dataset="none", rank=2, alpha=3.0, layers=layers, train_text_encoder=True)
    lora = add_lora(parts, request)
    generator = torch.Generator().manual_seed(0)
    for weight in lora.weights:
        weight.data = (torch.randn(weight.shape, generator=generator) / 8).half().float()
    return parts, lora


def applied(file, path, **strengths):
    """What a checkpoint says under a file, after it was checked that its weights come back."""
    import torch

    from extensions.lora.mixture import Part, fit, mix, swapped

    parts = loaded(path)
    before = {name: weight.clone() for name, weight in every_weight(parts)}
    networks = networks_of(parts)
    fitted = fit(file, networks, networks.places())
    assert fitted.layers == fitted.of
    mixture = mix([Part(fitted.changes, **{"te": 1.0, "unet": 1.0, **strengths})], networks)
    with swapped(mixture), torch.no_grad():
        answer = said(parts)
    assert all(torch.equal(weight, before[name]) for name, weight in every_weight(parts))
    return answer


def every_weight(parts):
    for number, network in enumerate((parts.unet, *(tower.encoder for tower in parts.texts.towers))):
        for name, weight in network.named_parameters():
            yield f"{number}.{name}", weight


def agree(ours, theirs):
    import torch

    return all(torch.allclose(mine, other, atol=1e-4) for mine, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_our_own_training_writes_is_applied_as_it_was_trained(tmp_path, checkpoints, family):
    import torch

    from tests.extensions.contexts import read_lora
    from webui.training.lora import kohya_tensors
    from webui.training.results import write_tensors

    parts, lora = trained(checkpoints[family])
    file = read_lora(write_tensors(kohya_tensors(lora.parts, parts), {}, tmp_path / "mine.safetensors"))
    with torch.no_grad():
        theirs = said(parts)
    ours = applied(file, checkpoints[family])
    assert agree(ours, theirs)
    with torch.no_grad():
        plain = said(loaded(checkpoints[family]))
    assert not any(torch.allclose(mine, each, atol=1e-2) for mine, each in zip(ours, plain, strict=True))


def of_diffusers(parts, lora, tmp_path):
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from peft.utils import get_peft_model_state_dict

    tensors, metadata = {}, {}
    for prefix, network in lora.parts.items():
        name = PREFIXES[prefix]
        tensors[f"{name}_lora_layers"] = get_peft_model_state_dict(network, adapter_name="default")
        metadata[f"{name}_lora_adapter_metadata"] = network.peft_config["default"].to_dict()
    pipeline = StableDiffusionXLPipeline if parts.is_xl else StableDiffusionPipeline
    pipeline.save_lora_weights(tmp_path, **tensors, **metadata, weight_name="mine.safetensors")
    return tmp_path / "mine.safetensors"


def of_old_diffusers(parts, lora, tmp_path):
    """Up to 2023: attention processors in the UNet, and the alpha folded into the weights."""
    import torch
    from peft.tuners.lora import LoraLayer

    tensors = {}
    for prefix, network in lora.parts.items():
        for name, layer in network.named_modules():
            if not isinstance(layer, LoraLayer):
                continue
            if prefix == "lora_unet":
                block, _, last = name.removesuffix(".0").rpartition(".")
                key = f"unet.{block}.processor.{last}_lora"
            else:
                full = name if name.startswith("text_model.") else f"text_model.{name}"
                key = f"{PREFIXES[prefix]}.{full}.lora_linear_layer"
            tensors[f"{key}.down.weight"] = layer.lora_A["default"].weight.detach()
            tensors[f"{key}.up.weight"] = layer.lora_B["default"].weight.detach() * layer.scaling["default"]
    torch.save({"state_dict": tensors}, tmp_path / "mine.bin")
    return tmp_path / "mine.bin"


def of_stability(parts, lora, tmp_path):
    """As LyCORIS and OneTrainer write them for ComfyUI: whole differences, by Stability's names."""
    from peft.tuners.lora import LoraLayer
    from safetensors.torch import save_file

    from extensions.lora.names import original_name

    tensors = {}
    for prefix, network in lora.parts.items():
        for name, layer in network.named_modules():
            if isinstance(layer, LoraLayer):
                delta = layer.get_delta_weight("default").detach().contiguous()
                if prefix == "lora_unet":
                    key = f"diffusion_model.{original_name(name, parts.unet.config.layers_per_block)}"
                else:
                    key = f"{PREFIXES[prefix]}.{name}"
                tensors[f"{key}.diff"] = delta
    save_file(tensors, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


@pytest.mark.parametrize(
    ("family", "layers", "written"),
    [
        ("sd1", "all", of_diffusers),
        ("sdxl", "all", of_diffusers),
        ("sd1", "attention", of_old_diffusers),
        ("sd2", "all", of_stability),
        ("sdxl", "all", of_stability),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_files_of_other_layouts_are_applied_as_they_were_trained(tmp_path, checkpoints, family, layers, written):
    import torch

    from tests.extensions.contexts import read_lora

    parts, lora = trained(checkpoints[family], layers)
    file = read_lora(written(parts, lora, tmp_path))
    with torch.no_grad():
        theirs = said(parts)
    assert agree(applied(file, checkpoints[family]), theirs)


@pytest.mark.parametrize(
    ("ours", "original"),
    [
        ("down_blocks.1.attentions.0.norm", "input_blocks.4.1.norm"),
        ("down_blocks.2.attentions.1.proj_in", "input_blocks.8.1.proj_in"),
        ("mid_block.attentions.0.proj_out", "middle_block.1.proj_out"),
        ("mid_block.resnets.1.conv1", "middle_block.2.in_layers.2"),
        ("mid_block.resnets.0.norm2", "middle_block.0.out_layers.0"),
        ("up_blocks.1.attentions.0.proj_in", "output_blocks.3.1.proj_in"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("down_blocks.1.resnets.0.conv_shortcut", "input_blocks.4.0.skip_connection"),
        ("up_blocks.2.resnets.1.time_emb_proj", "output_blocks.7.0.emb_layers.1"),
        ("conv_in", "input_blocks.0.0"),
        ("conv_out", "out.2"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("add_embedding.linear_1", "label_emb.0.0"),
    ],
)  # fmt: skip
def test_layers_have_the_names_of_stabilitys_code(ours, original):
    from extensions.lora.names import original_name

    assert original_name(ours, 2) == original


def test_strengths_of_text_encoder_and_unet_are_apart(tmp_path, checkpoints):
    import torch

    from tests.extensions.contexts import read_lora
    from webui.training.lora import kohya_tensors
    from webui.training.results import write_tensors

    parts, lora = trained(checkpoints["sd1"])
    file = read_lora(write_tensors(kohya_tensors(lora.parts, parts), {}, tmp_path / "mine.safetensors"))
    with torch.no_grad():
        picture, words = said(loaded(checkpoints["sd1"]))
    only_words, only_picture = applied(file, checkpoints["sd1"], unet=0.0), applied(file, checkpoints["sd1"], te=0.0)
    assert torch.equal(only_words[0], picture)
    assert not torch.allclose(only_words[1], words, atol=1e-2)
    assert torch.equal(only_picture[1], words)
    assert not torch.allclose(only_picture[0], picture, atol=1e-2)


def small(kind="plain"):
    """A network of one layer, as the networks of a checkpoint."""
    import torch
    from torch import nn

    from extensions.lora.mixture import Networks

    unet = nn.ModuleDict({"conv_in": nn.Linear(4, 6)})
    with torch.no_grad():
        unet["conv_in"].weight.copy_(torch.arange(24.0).view(6, 4))
    return Networks(unet, 1, ())


def part(strength=1.0, seed=0, **roles):
    import torch

    from extensions.lora.changes import changes_of
    from extensions.lora.mixture import Part
    from extensions.lora.names import Place

    generator = torch.Generator().manual_seed(seed)
    tensors = {role: torch.randn(shape, generator=generator) for role, shape in roles.items()}
    change = changes_of(tensors)["weight"]
    place = Place("unet", "conv_in")
    return Part({(place, "weight"): change}, te=0.0, unet=strength), tensors


def test_several_at_once_add_up():
    import torch

    from extensions.lora.mixture import mix, swapped

    networks = small()
    weight = networks.unet["conv_in"].weight
    before = weight.clone()
    first, one = part(0.5, down=(2, 4), up=(6, 2))
    second, other = part(-2.0, 1, diff=(6, 4))
    with swapped(mix([first, second], networks)):
        assert torch.allclose(weight, before + 0.5 * one["up"] @ one["down"] - 2 * other["diff"], atol=1e-5)
    assert torch.equal(weight, before)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_half_precision_the_sum_is_made_in_full_precision(dtype):
    import torch

    from extensions.lora.mixture import mix, swapped

    networks = small()
    networks.unet.to(getattr(torch, dtype))
    weight = networks.unet["conv_in"].weight
    lora, tensors = part(1.0, down=(2, 4), up=(6, 2))
    expected = (weight.float() + tensors["up"] @ tensors["down"]).to(weight.dtype)
    with swapped(mix([lora], networks)):
        assert weight.dtype == getattr(torch, dtype)
        assert torch.equal(weight, expected)


def test_an_error_inside_gives_the_original_weights_back():
    import torch

    from extensions.lora.mixture import mix, swapped

    networks = small()
    weight = networks.unet["conv_in"].weight
    before, storage = weight.clone(), weight.data_ptr()
    with pytest.raises(RuntimeError, match="in the middle"), swapped(mix([part(down=(2, 4), up=(6, 2))[0]], networks)):
        assert not torch.equal(weight, before)
        raise RuntimeError("in the middle")
    assert weight.data_ptr() == storage
    assert torch.equal(weight, before)


def test_a_set_is_known_to_be_out_of_date_when_the_weights_have_moved():
    from extensions.lora.mixture import mix, swapped

    networks = small()
    mixture = mix([part(down=(2, 4), up=(6, 2))[0]], networks)
    assert mixture.is_current()
    with swapped(mixture):
        pass
    assert mixture.is_current()
    networks.unet.half().float()
    assert not mixture.is_current()


def test_a_set_can_be_computed_in_inference_mode():
    import torch

    from extensions.lora.mixture import mix, swapped

    networks = small()
    with torch.inference_mode():
        mixture = mix([part(down=(2, 4), up=(6, 2))[0]], networks)
        with swapped(mixture):
            networks.unet["conv_in"](torch.ones(1, 4))


def test_layers_of_another_shape_and_of_unknown_kind_are_counted_as_not_applied(tmp_path):
    import torch
    from safetensors.torch import save_file

    from extensions.lora.mixture import fit
    from tests.extensions.contexts import read_lora

    networks = small()
    save_file(
        {
            "lora_unet_conv_in.lora_down.weight": torch.ones(2, 4),
            "lora_unet_conv_in.lora_up.weight": torch.ones(6, 2),
            "lora_unet_conv_out.lora_down.weight": torch.ones(2, 4),
            "lora_unet_conv_out.lora_up.weight": torch.ones(6, 2),
            "lora_unet_mid.oft_blocks": torch.ones(2, 4),
            "lora_unet_mid.alpha": torch.tensor(1.0),
        },
        tmp_path / "mine.safetensors",
    )
    fitted = fit(read_lora(tmp_path / "mine.safetensors"), networks, networks.places())
    assert (fitted.layers, fitted.of) == (1, 3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_set_that_is_needed_no_more_lends_its_memory_to_the_next(dtype):
    import torch

    from extensions.lora.mixture import mix

    networks = small()
    networks.unet.to(getattr(torch, dtype))
    old = mix([part(down=(2, 4), up=(6, 2))[0]], networks)
    wanted = [part(0.5, 3, down=(2, 4), up=(6, 2))[0], part(1.0, 4, diff=(6, 4))[0]]
    fresh, reused = mix(wanted, networks), mix(wanted, networks, old.tensors())
    assert reused.swaps[0].mixed.data_ptr() == old.swaps[0].mixed.data_ptr()
    assert torch.equal(reused.swaps[0].mixed, fresh.swaps[0].mixed)
