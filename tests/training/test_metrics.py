"""Figures about pictures, and the networks they are made with: right where the truth is known, refused where unsafe."""

import math
import zipfile

import pytest

from webui.errors import CheckpointError, MissingTrainingData

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Metric .* will save all extracted features:UserWarning"),
]


def noise(count, seed, side=16):
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def test_psnr_and_ssim_are_those_of_torchmetrics():
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    from webui.training.metrics import psnr, ssim

    pictures = noise(3, 0, 24)
    others = (pictures.float() * 0.8 + 20).to(torch.uint8)
    expected = structural_similarity_index_measure(
        pictures.double(), others.double(), data_range=255.0, gaussian_kernel=True, reduction="none"
    )
    # torchmetrics cuts the border off as well, and says so in its source only.
    assert torch.allclose(ssim(pictures, others), expected, atol=1e-3)
    ratio = peak_signal_noise_ratio(
        pictures.double(), others.double(), data_range=255.0, dim=(1, 2, 3), reduction="none"
    )
    assert torch.allclose(psnr(pictures, others), ratio, atol=1e-3)
    assert torch.allclose(ssim(pictures, pictures), torch.ones(3, dtype=torch.float64))
    assert psnr(pictures, pictures).tolist() == pytest.approx([90.0] * 3)
    assert ssim(noise(2, 0, 5), noise(2, 0, 5)).tolist() == pytest.approx([1.0, 1.0])


class Colour:
    """A judge that sees the mean colour, and takes the strongest channel for the class."""

    def features(self, pictures):
        return pictures.mean((2, 3))

    def logits(self, pictures):
        return self.features(pictures) * 1000


def coloured(means, spread=5, count=300, seed=0):
    """Plain pictures whose colours are normally distributed."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    colours = torch.tensor(means) + spread * torch.randn(count, 3, generator=generator)
    return colours.clamp(0, 255).to(torch.uint8)[:, :, None, None].expand(-1, -1, 4, 4)


def test_fid_is_the_known_distance_of_two_normal_distributions():
    from webui.training.metrics import compare_pictures

    real, moved = coloured([128.0, 128, 128]), coloured([148.0, 128, 108], spread=10, seed=1)
    figures = compare_pictures(real, moved, Colour())
    # Heusel et al. 2017, eq. 6: 2 means moved by 20 / 127.5, 3 deviations that differ by 5 / 127.5.
    assert figures["fid"] == pytest.approx((2 * 20**2 + 3 * 5**2) / 127.5**2, rel=0.15)
    assert figures["kid"] > 0.01
    same = compare_pictures(real, coloured([128.0, 128, 128], seed=2), Colour())
    assert same["fid"] < figures["fid"] / 50
    assert abs(same["kid"]) < figures["kid"] / 50
    assert same["precision"] > 0.8 and same["recall"] > 0.8


def test_variety_that_is_lost_costs_recall_and_not_precision():
    from webui.training.metrics import compare_pictures

    figures = compare_pictures(coloured([128.0, 128, 128], 20), coloured([128.0, 128, 128], 4, seed=1), Colour())
    assert figures["precision"] > 0.9
    assert figures["recall"] < 0.3


def test_the_inception_score_counts_classes_that_are_told_apart():
    import torch

    from webui.training.metrics import compare_pictures

    three = torch.cat([coloured(means, 1, 40) for means in ([200.0, 0, 0], [0, 200.0, 0], [0, 0, 200.0])])
    shuffled = three[torch.randperm(len(three), generator=torch.Generator().manual_seed(0))]
    assert compare_pictures(three, shuffled, Colour())["inception_score"] == pytest.approx(3, abs=0.3)
    one = coloured([200.0, 0, 0], 1, 40)
    assert compare_pictures(three, one, Colour())["inception_score"] == pytest.approx(1, abs=0.01)


def write_pictures(folder, pictures):
    from PIL import Image

    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{number:03}.png")
    return folder


def test_folders_of_pictures_of_different_sizes_are_compared_the_same_way_each_time(tmp_path):
    from webui.training.features import Chain, FeatureNetwork, save_features
    from webui.training.metrics import compare_folders

    real = write_pictures(tmp_path / "real", [*noise(5, 0, 16), *noise(4, 1, 24)])
    fake = write_pictures(tmp_path / "fake", [*noise(4, 2, 24), *noise(4, 3, 16)])
    (real / "notes.txt").write_text("no picture")
    network = FeatureNetwork(Chain(layers=("conv 4", "relu", "pool", "tap"), side=8, classes=3))
    save_features(network, tmp_path / "judge.safetensors")
    figures = compare_folders(real, fake, tmp_path / "judge.safetensors")
    assert figures == compare_folders(real, fake, network)
    assert (figures["real"], figures["generated"]) == (9, 8)
    assert all(math.isfinite(value) for value in figures.values())
    assert figures.keys() == {
        "real", "generated", "fid", "kid", "kid_deviation", "inception_score", "inception_score_deviation",
        "precision", "recall",
    }  # fmt: skip


def test_too_few_pictures_are_told(tmp_path):
    from webui.training.metrics import compare_folders, compare_pictures

    with pytest.raises(MissingTrainingData, match="3 real and 1 generated"):
        compare_pictures(noise(3, 0), noise(1, 1), Colour())
    with pytest.raises(MissingTrainingData, match="0 real and 0 generated"):
        compare_folders(tmp_path, tmp_path, Colour())


def test_perceptual_distance_grows_with_the_damage_and_gradients_reach_the_picture():
    import torch
    import torch.nn.functional as F

    from webui.training.features import random_features

    network = random_features()
    generator = torch.Generator().manual_seed(0)
    picture = F.interpolate(torch.rand(1, 3, 8, 8, generator=generator) * 2 - 1, 32, mode="bicubic").clamp(-1, 1)
    still = torch.randn(picture.shape, generator=generator)
    distances = [float(network.distance(picture, picture + amount * still)) for amount in (0, 0.05, 0.1, 0.3, 1)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    # What L2 calls equally far: structure that is lost counts more than a shade.
    lost, shaded = F.interpolate(F.avg_pool2d(picture, 16), 32), picture.clone()
    shaded += (lost - picture).pow(2).mean().sqrt()
    assert float(network.distance(picture, lost)) > 1.5 * float(network.distance(picture, shaded))
    changed = (picture + 0.1 * still).requires_grad_()
    network.distance(picture, changed).sum().backward()
    assert bool(changed.grad.isfinite().all()) and float(changed.grad.abs().max()) > 0
    assert all(weight.grad is None for weight in network.parameters())
    black = torch.zeros(1, 3, 32, 32, requires_grad=True)
    network.distance(black, black.detach()).sum().backward()
    assert bool(black.grad.isfinite().all())
    assert network.distance(picture[..., :4, :4], picture[..., 1:5, 1:5]).shape == (1,)


def test_a_feature_network_comes_back_from_its_file_as_it_was(tmp_path):
    import torch

    from webui.training.features import Chain, FeatureNetwork, load_features, save_features

    chain = Chain(layers=("conv 4", "tap", "pool", "conv 6", "relu", "tap"), classes=2, weighted=True, mean=(0.1, 0, 0))
    network = FeatureNetwork(chain)
    network.weights[0].data.mul_(3)
    save_features(network, tmp_path / "n.safetensors")
    again = load_features(tmp_path / "n.safetensors")
    one, other = noise(2, 0).float() / 127.5 - 1, noise(2, 1).float() / 127.5 - 1
    assert again.chain == chain
    assert torch.equal(network.distance(one, other), again.distance(one, other))
    assert torch.equal(network.logits(one), again.logits(one))


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (None, "its header has no easel_features"),
        ("{", "Expecting"),
        ('{"layers": ["relu"]}', "no tap"),
        ('{"layers": ["tap", "eval"]}', "no layer 'eval'"),
        ('{"layers": ["tap", "conv 99999"]}', "no layer 'conv 99999'"),
        ('{"layers": ["tap"], "side": "x"}', "validation error"),
        ('{"layers": ["conv 4", "tap"]}', "Error.s. in loading state_dict"),
        ('["tap"]', "dictionary update sequence"),
    ],
)
def test_files_that_are_no_feature_networks_are_refused_in_words(tmp_path, description, words):
    import torch
    from safetensors.torch import save_file

    from webui.training.features import load_judge

    path = tmp_path / "n.safetensors"
    save_file({"x": torch.ones(1)}, path, description and {"easel_features": description})
    with pytest.raises(CheckpointError, match=words):
        load_judge(path)


def test_a_name_that_says_nothing_is_refused_in_words(tmp_path):
    from webui.training.features import load_judge

    for name, words in (("n.onnx", "give a .safetensors"), ("gone.safetensors", "is no feature network"),
                        ("gone.pt", "No such file")):  # fmt: skip
        with pytest.raises(CheckpointError, match=words):
            load_judge(tmp_path / name)


def inception_like():
    """What NVIDIA's file of FID's Inception network offers: bytes in, probabilities out, features on request."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 8, 3)
            self.norm = torch.nn.BatchNorm2d(8)
            self.head = torch.nn.Linear(8, 5)

        def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
            x = torch.nn.functional.interpolate(x.float() / 255, size=[16, 16], mode="bilinear", align_corners=False)
            features = torch.relu(self.norm(self.convolution(x))).mean([2, 3])
            if return_features:
                return features
            return torch.softmax(self.head(features), 1)

    torch.manual_seed(0)
    return Network().eval()


def test_a_torchscript_network_judges_as_the_module_it_was_made_of(tmp_path):
    import torch

    from webui.training.features import load_judge

    network = inception_like()
    torch.jit.script(network).save(tmp_path / "net.pt")
    judge = load_judge(tmp_path / "net.pt")
    pictures = noise(3, 0, 20)
    shown = pictures.float() / 127.5 - 1
    assert torch.allclose(judge.features(shown), network(pictures, return_features=True), atol=1e-5)
    assert torch.allclose(judge.logits(shown).softmax(1), network(pictures), atol=1e-5)
    torch.jit.trace(torch.nn.AvgPool2d(4), torch.zeros(1, 3, 8, 8)).save(str(tmp_path / "plain.pt"))
    judge = load_judge(tmp_path / "plain.pt")
    assert judge.logits(shown) is None
    with pytest.raises(CheckpointError, match=r"judges no pictures.*uint8"):
        judge.features(shown)


@pytest.mark.parametrize(
    "body",
    [
        'torch.save(x, "{file}")',
        'y = torch.from_file("{file}", True, 10)',
        'ops.aten.save(x, "{file}")',
        't = torch\n    t.save(x, "{file}")',
        'n = ops.aten\n    n.save(x, "{file}")',
        'f = "{file}".from_file\n    f(True, 10)',
        'y = "{file}".from_file(True, 10)',
        'getattr(torch, "save")(x, "{file}")',
        'ops.prim.PythonOp(x)',
        'ops.profiler._record_function_enter("{file}")',
        'y = __torch__.torch.classes.quantized.LinearPackedParamsBase(x)',
        'import os',
    ],
)  # fmt: skip
def test_a_torchscript_file_that_does_more_than_arithmetic_is_never_given_to_torch(tmp_path, body):
    from webui.training.features import load_judge

    target = tmp_path / "written"
    with pytest.raises(CheckpointError, match="is not loaded: it calls"):
        load_judge(infected(tmp_path, body.replace("{file}", str(target))))
    assert not target.exists()


def infected(folder, body):
    """A network with another line in its forward, and a harmless function that has a name in common with it."""
    import torch

    torch.jit.script(inception_like()).save(folder / "net.pt")
    with zipfile.ZipFile(folder / "net.pt") as old, zipfile.ZipFile(folder / "bad.pt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if b"class Network" in content and name.endswith(".py"):
                head, tail = content.split(b"-> Tensor:\n", 1)
                content = head + b"-> Tensor:\n    " + body.encode() + b"\n" + tail
            new.writestr(name, content)
    return folder / "bad.pt"


def test_what_the_check_keeps_out_is_real(tmp_path):
    """Without it, judging a picture would have written a file."""
    import torch

    target = tmp_path / "written"
    torch.jit.load(infected(tmp_path, f'torch.save(x, "{target}")'))(noise(1, 0))
    assert target.exists()


def test_archives_that_are_no_torchscript_are_refused_in_words(tmp_path):
    import torch

    from webui.training.features import load_judge

    torch.save({"x": torch.ones(1)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("hello")
    with zipfile.ZipFile(tmp_path / "broken.pt", "w") as archive:
        archive.writestr("a/code/x.py", "def (")
    for name, words in (
        ("weights.pt", "holds no code"),
        ("text.pt", "not a zip file"),
        ("broken.pt", "no TorchScript"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load_judge(tmp_path / name)
