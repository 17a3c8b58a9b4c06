"""What LoRA files do to weights: the numbers of peft, and of the published formulas where peft has none."""

import pytest

pytestmark = pytest.mark.torch


def network():
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(12, 20)
            self.conv = nn.Conv2d(8, 12, 3)
            self.point = nn.Conv2d(8, 12, 1)

        def forward(self, x):
            return self.linear(x)

    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Network()


def trained(config):
    """(the plain network, the same with random additions merged by peft, the file that peft saves of them)."""
    import torch
    from peft import get_peft_model, get_peft_model_state_dict

    plain = network()
    model = get_peft_model(network(), config)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                weight.data = weight.data + torch.randn_like(weight) / (4 if "magnitude" in name else 1)
    saved = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}
    return plain, model.merge_and_unload(), saved


def configs():
    from peft import IA3Config, LoHaConfig, LoKrConfig, LoraConfig

    layers = ["linear", "conv", "point"]
    return {
        "LoRA": LoraConfig(r=3, lora_alpha=5, target_modules=layers),
        "rank-stabilized LoRA": LoraConfig(r=4, lora_alpha=5, use_rslora=True, target_modules=layers),
        "LoRA with ranks and alphas of their own": LoraConfig(
            r=3, lora_alpha=5, rank_pattern={"conv": 2}, alpha_pattern={"point": 7}, target_modules=layers
        ),
        "DoRA": LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=layers),
        "LoHa": LoHaConfig(r=3, alpha=5, target_modules=layers),
        "LoHa with Tucker cores": LoHaConfig(r=3, alpha=5, target_modules=layers, use_effective_conv2d=True),
        "LoKr": LoKrConfig(r=3, alpha=5, target_modules=layers),
        "LoKr with both of low rank": LoKrConfig(r=1, alpha=5, target_modules=layers, decompose_both=True),
        "LoKr with Tucker cores": LoKrConfig(r=1, alpha=5, target_modules=layers, use_effective_conv2d=True),
        "(IA)³": IA3Config(target_modules=layers, feedforward_modules=["point"]),
    }


KINDS = (
    "LoRA", "rank-stabilized LoRA", "LoRA with ranks and alphas of their own", "DoRA", "LoHa",
    "LoHa with Tucker cores", "LoKr", "LoKr with both of low rank", "LoKr with Tucker cores", "(IA)³",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_that_peft_saves_gives_the_weights_that_peft_merges(tmp_path, kind):
    import torch
    from safetensors.torch import save_file

    from tests.extensions.contexts import read_lora

    config = configs()[kind]
    plain, merged, saved = trained(config)
    save_file(saved, tmp_path / "adapter_model.safetensors")
    config.save_pretrained(tmp_path)
    layers = read_lora(tmp_path / "adapter_model.safetensors").layers
    assert len(layers) == 3
    for name in ("linear", "conv", "point"):
        weight, expected = plain.get_submodule(name).weight, merged.get_submodule(name).weight
        change = layers[f"base_model.model.{name}"]["weight"]
        assert change.fits(weight)
        assert torch.allclose(weight + change.delta(weight), expected, atol=1e-5)
        assert not torch.allclose(weight, expected, atol=1e-2), "the additions count at all"


def layer(**roles):
    from extensions.lora.changes import changes_of

    return changes_of(roles)


def randn(*shape):
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape) + len(shape)))


def test_a_convolution_in_three_parts_is_what_the_three_do_one_after_the_other():
    """LoCon: the middle convolution alone has a kernel."""
    import torch
    import torch.nn.functional as F

    down, mid, up = randn(3, 8, 1, 1), randn(3, 3, 3, 3), randn(12, 3, 1, 1)
    weight, x = torch.zeros(12, 8, 3, 3), randn(2, 8, 6, 6)
    change = layer(down=down, mid=mid, up=up, alpha=torch.tensor(1.5))["weight"]
    assert change.fits(weight)
    expected = F.conv2d(F.conv2d(F.conv2d(x, down), mid), up) * 1.5 / 3
    assert torch.allclose(F.conv2d(x, change.delta(weight)), expected, atol=1e-4)


def test_dora_of_kohya_keeps_the_lengths_that_the_file_names():
    import torch

    weight, lengths = randn(6, 4), randn(6, 1).abs() + 1
    change = layer(down=randn(2, 4), up=randn(6, 2), alpha=torch.tensor(2.0), magnitude=lengths)["weight"]
    moved = weight + change.delta(weight)
    direction = weight + randn(6, 2) @ randn(2, 4)
    assert torch.allclose(moved.norm(dim=1, keepdim=True), lengths, atol=1e-5)
    assert torch.allclose(moved / lengths, direction / direction.norm(dim=1, keepdim=True), atol=1e-5)


def test_dora_of_early_lycoris_is_of_columns():
    import torch

    weight, lengths = randn(6, 4, 3, 3), randn(1, 4, 1, 1).abs() + 1
    change = layer(down=randn(2, 4, 3, 3), up=randn(6, 2, 1, 1), alpha=torch.tensor(2.0), magnitude=lengths)["weight"]
    moved = weight + change.delta(weight)
    assert torch.allclose(moved.transpose(0, 1).flatten(1).norm(dim=1), lengths.flatten(), atol=1e-5)


@pytest.mark.parametrize("on_input", [False, True])
def test_ia3_of_lycoris_says_how_much_more_than_once_each_row_or_column_counts(on_input):
    import torch

    weight = randn(5, 4)
    factors = randn(4 if on_input else 5)
    change = layer(ia3=factors, on_input=torch.tensor(on_input))["weight"]
    expected = weight * (1 + (factors if on_input else factors[:, None]))
    assert torch.allclose(weight + change.delta(weight), expected)


def test_whole_differences_are_added_to_weight_and_bias():
    import torch

    changes = layer(diff=randn(5, 4), diff_b=randn(5))
    assert torch.equal(changes["weight"].delta(torch.zeros(5, 4)), randn(5, 4))
    assert torch.equal(changes["bias"].delta(torch.zeros(5)), randn(5))


def test_a_limited_rank_is_that_of_the_first_directions():
    import torch

    change = layer(down=randn(4, 6), up=randn(5, 4), alpha=torch.tensor(4.0))["weight"]
    assert torch.allclose(change.limited(2).delta(torch.zeros(5, 6)), randn(5, 4)[:, :2] @ randn(4, 6)[:2])


@pytest.mark.parametrize(
    ("roles", "shape"),
    [
        ({"down": (2, 4), "up": (6, 2)}, (6, 4)),
        ({"down": (2, 4, 3, 3), "up": (6, 2, 1, 1)}, (6, 4, 3, 3)),
        ({"down": (2, 4, 1, 1), "up": (6, 2, 1, 1), "mid": (2, 2, 3, 3)}, (6, 4, 3, 3)),
        ({"hada_w1_a": (6, 2), "hada_w1_b": (2, 4), "hada_w2_a": (6, 2), "hada_w2_b": (2, 4)}, (6, 4)),
        ({"lokr_w1": (2, 2), "lokr_w2_a": (3, 1), "lokr_w2_b": (1, 2)}, (6, 4)),
        ({"ia3": (6,)}, (6, 4)),
        ({"diff": (6, 4)}, (6, 4)),
    ],
)
def test_a_change_fits_weights_of_its_shape_alone(roles, shape):
    import torch

    change = layer(**{role: randn(*each) for role, each in roles.items()})["weight"]
    weight = torch.zeros(shape)
    assert change.fits(weight)
    assert change.delta(weight).shape == weight.shape
    assert not change.fits(torch.zeros(7, *shape[1:]))
    assert not change.fits(torch.zeros(6))


def test_a_kind_that_is_not_known_changes_nothing():
    assert layer(alpha=randn(1), hada_w1_a=randn(2, 2)) == {}
