"""LoRAs of a prompt on a loaded checkpoint: what is told, what is kept for the next job, what is left out and why."""

import os

import pytest

from tests.extensions.contexts import engine_context
from tests.training.workshop import predictions
from webui.train_requests import TrainLora

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.tiny import build_tiny_checkpoint

    return build_tiny_checkpoint(tmp_path_factory.mktemp("lora-engine") / "tiny")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory, checkpoint):
    """models/loras with "mine" and "yours", trained on nothing, and some that cannot be used."""
    import torch
    from safetensors.torch import save_file

    from webui.training.lora import add_lora, kohya_tensors
    from webui.training.networks import load_networks
    from webui.training.results import write_tensors

    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("mine", "styles/yours")):
        networks = load_networks(checkpoint, "cpu", "fp32")
        lora = add_lora(networks, TrainLora(name="x", dataset="x", rank=2, alpha=2.0, train_text_encoder=True))
        generator = torch.Generator().manual_seed(seed)
        for weight in lora.weights:
            weight.data = torch.randn(weight.shape, generator=generator) / 4
        metadata = {"ss_output_name": "trained as mine"} if name == "mine" else {}
        write_tensors(kohya_tensors(lora.parts, networks), metadata, folder / f"loras/{name}.safetensors")
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file(
        {f"{layer}.lora_down.weight": torch.ones(2, 2048), f"{layer}.lora_up.weight": torch.ones(16, 2)},
        folder / "loras/of-xl.safetensors",
    )
    (folder / "loras/broken.safetensors").write_bytes(b"<!DOCTYPE html>")
    return folder


class Job:
    """One job's engine half over a checkpoint that stays loaded."""

    def __init__(self, models_dir, networks):
        self.networks = networks
        self.models_dir, self.cache, self.told, self.noted = models_dir, {}, [], []

    def engine(self):
        from extensions.lora.engine import Engine
        from webui.requests import TextToImage

        self.told.clear()
        self.noted.clear()
        context = engine_context(
            request=TextToImage(), models_dir=self.models_dir, cache=self.cache,
            warn=lambda sentence: self.told.append(str(sentence)),
            note=lambda sentence: self.noted.append(str(sentence)),
        )  # fmt: skip
        return Engine(None, context)

    @property
    def components(self):
        import torch

        from webui.extension import Components

        towers = self.networks.texts.towers
        return Components(
            name="tiny", unet=self.networks.unet, vae=None, text_encoders=tuple(tower.encoder for tower in towers),
            tokenizers=tuple(tower.tokenizer for tower in towers), prediction_type="epsilon", factor=8,
            device=torch.device("cpu"), dtype=torch.float32,
        )  # fmt: skip

    def draw(self, prompt=""):
        """(the UNet's answer, the words' encoding) under the tags of a prompt."""
        import torch

        from webui.prompt.tags import take_tags

        with torch.inference_mode(), self.engine().patch(self.components, take_tags(prompt)[1]):
            return predictions(self.networks), self.networks.texts.encode(["red cat"]).hidden


@pytest.fixture(scope="module")
def networks(checkpoint):
    from webui.training.networks import load_networks

    return load_networks(checkpoint, "cpu", "fp32")


@pytest.fixture
def job(models_dir, networks):
    return Job(models_dir, networks)


def same(one, other):
    import torch

    return [torch.equal(a, b) for a, b in zip(one, other, strict=True)]


def test_a_lora_changes_picture_and_words_and_afterwards_nothing_is_left_of_it(job):
    plain = job.draw()
    assert same(job.draw("<lora:mine:1>"), plain) == [False, False]
    assert (job.noted, job.told) == (["LoRA “mine”: applied 40/40 layers."], [])
    assert same(job.draw(), plain) == [True, True]


@pytest.mark.parametrize(
    ("tag", "changed"),
    [
        ("<lora:mine>", [True, True]),
        ("<lyco:mine>", [True, True]),
        ("<lora:mine:0>", [False, False]),
        ("<lora:mine:0:1>", [True, False]),
        ("<lora:mine:1:0>", [False, True]),
        ("<lora:mine:te=0:unet=1>", [True, False]),
        ("<lora:mine:1:unet=0>", [False, True]),
    ],
)
def test_strengths_are_read_as_automatic1111_does(job, tag, changed):
    plain = job.draw()
    assert [not each for each in same(job.draw(tag), plain)] == changed


def test_one_strength_counts_for_both(job):
    assert same(job.draw("<lora:mine:te=0.5>"), job.draw("<lora:mine:0.5:0.5>")) == [True, True]


def test_the_same_set_again_costs_nothing_and_another_one_is_computed(job, monkeypatch):
    from extensions.lora import engine

    made = []
    monkeypatch.setattr(engine, "mix", lambda *given: made.append(given) or mix(*given))
    from extensions.lora.mixture import mix

    first = job.draw("<lora:mine:0.8>")
    assert same(job.draw("<lora:mine:0.8>"), first) == [True, True]
    assert len(made) == 1
    assert job.noted == ["LoRA “mine”: applied 40/40 layers."], "the receipt is the same"
    assert same(job.draw("<lora:mine:0.7>"), first) == [False, False]
    assert len(made) == 2
    path = job.models_dir / "loras/mine.safetensors"
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    job.draw("<lora:mine:0.7>")
    assert len(made) == 3, "a file that was trained further is read again"


def test_what_is_kept_goes_with_the_checkpoint(models_dir, checkpoint):
    import gc

    from webui.training.networks import load_networks

    job = Job(models_dir, load_networks(checkpoint, "cpu", "fp32"))
    job.draw("<lora:mine:1>")
    assert len(job.cache["mixtures"]) == 1
    job.networks = None
    gc.collect()
    assert len(job.cache["mixtures"]) == 0


def test_an_unknown_name_is_told_with_near_ones_and_the_others_stay_active(job):
    alone = job.draw("<lora:yours:1>")
    assert same(job.draw("<lora:mime:1> <lora:yours:1>"), alone) == [True, True]
    assert job.told == ["LoRA “mime” was left out: there is no such file in models/loras. Did you mean “mine”?"]
    assert job.noted == ["LoRA “yours”: applied 40/40 layers."]


def test_a_file_for_another_family_is_left_out_with_the_reason(job):
    plain = job.draw()
    assert same(job.draw("<lora:of-xl:1>"), plain) == [True, True]
    assert job.told == [
        "LoRA “of-xl” was left out: it was made for Stable Diffusion XL, and this checkpoint is a model that reads "
        "texts 16 wide."
    ]


def test_a_broken_file_and_a_strange_strength_are_told_and_left_out(job):
    plain = job.draw()
    assert same(job.draw("<lora:broken:1> <lora:mine:very> <lora:mine:nan>"), plain) == [True, True]
    very, nan, broken = job.told
    assert very == "LoRA “mine” was left out: “very” is not a number. Write <lora:name:0.8>."
    assert "“nan” is not a number" in nan
    assert broken.startswith("LoRA “broken” was left out: loras/broken.safetensors is an HTML page")


@pytest.mark.parametrize("name", ["yours", "styles/yours", "yours.safetensors", "styles/yours.safetensors"])
def test_a_name_is_a_file_name_with_or_without_folder_and_suffix(job, name):
    job.draw(f"<lora:{name}:1>")
    assert job.noted == [f"LoRA “{name}”: applied 40/40 layers."]


def test_a_name_may_be_the_one_it_was_trained_under(job):
    assert same(job.draw("<lora:trained as mine:1>"), job.draw("<lora:mine:1>")) == [True, True]


@pytest.mark.parametrize("name", ["../mine", "/etc/passwd", "..", "*", ""])
def test_a_name_is_never_a_path(job, name):
    job.draw(f"<lora:{name}:1>" if name else "<lora::1>")
    assert "there is no such file" in job.told[0]


def test_several_of_one_name_are_told(job, tmp_path):
    import shutil

    for folder in ("a", "b"):
        (tmp_path / "loras" / folder).mkdir(parents=True)
        shutil.copy(job.models_dir / "loras/mine.safetensors", tmp_path / f"loras/{folder}/mine.safetensors")
    job.models_dir = tmp_path
    job.draw("<lora:mine:1>")
    assert job.told[0] == (
        "There are 2 LoRAs called “mine”; loras/a/mine.safetensors was taken. Write its folder before the name to "
        "choose."
    )


def test_layers_that_are_left_out_are_told_at_once(job, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    (tmp_path / "loras").mkdir()
    tensors = load_file(job.models_dir / "loras/mine.safetensors")
    stranger = {f"lora_unet_elsewhere.lora_{way}.weight": torch.ones(2, 2) for way in ("down", "up")}
    save_file(tensors | stranger, tmp_path / "loras/mine.safetensors")
    job.models_dir = tmp_path
    job.draw("<lora:mine:1>")
    assert (job.noted, job.told) == ([], ["LoRA “mine”: applied 40/41 layers."])


def test_the_infotext_tells_names_and_hashes(job):
    import hashlib

    engine = job.engine()
    from webui.prompt.tags import take_tags

    tags = take_tags("<lora:mine:1> <lora:nothing:1>")[1]
    with engine.patch(job.components, tags):
        pass
    assert engine.before_save(None, 0) == {}  # no tag of this picture's
    engine.tags = tags
    content = (job.models_dir / "loras/mine.safetensors").read_bytes()
    tensors = content[8 + int.from_bytes(content[:8], "little") :]
    assert engine.before_save(None, 0) == {"Lora hashes": f"mine: {hashlib.sha256(tensors).hexdigest()[:12]}"}
    assert job.engine().before_save(None, 0) == {}


def test_a_lora_may_begin_and_end_with_a_step(job):
    """In the UNet only: the words were encoded before."""
    import torch

    from tests.extensions.contexts import a_step
    from webui.prompt.tags import take_tags

    plain, whole = job.draw(), job.draw("<lora:mine:1>")
    before = {name: weight.clone() for name, weight in job.networks.unet.named_parameters()}
    engine, tags = job.engine(), take_tags("<lora:mine:1:start=0.25:end=0.5>")[1]
    found = []
    with torch.inference_mode(), engine.patch(job.components, tags):
        assert torch.equal(job.networks.texts.encode(["red cat"]).hidden, whole[1])
        for index in (1, 2, 3, 4, 5, 6, 7, 8, 3, 1):
            engine.before_step(torch.zeros(1), a_step(index, 8))
            found.append(predictions(job.networks))
    on = [torch.equal(each, whole[0]) for each in found]
    assert on == [False, False, True, True, False, False, False, False, True, False]
    assert all(torch.equal(each, plain[0]) for each, is_on in zip(found, on, strict=True) if not is_on)
    assert all(torch.equal(weight, before[name]) for name, weight in job.networks.unet.named_parameters())


def test_what_begins_later_follows_a_network_that_went_over_to_full_precision(job):
    import torch

    from tests.extensions.contexts import a_step
    from webui.prompt.tags import take_tags

    unet = job.networks.unet
    try:
        unet.half()
        before = {name: weight.clone() for name, weight in unet.named_parameters()}
        engine, tags = job.engine(), take_tags("<lora:mine:1:start=0.5>")[1]
        with torch.inference_mode(), engine.patch(job.components, tags):
            engine.before_step(torch.zeros(1), a_step(1, 2))
            unet.float()
            engine.before_step(torch.zeros(1), a_step(2, 2))
            assert {weight.dtype for weight in unet.parameters()} == {torch.float32}
            assert torch.isfinite(predictions(job.networks)).all()
            unet.half()
        assert all(torch.equal(weight, before[name]) for name, weight in unet.named_parameters())
    finally:
        unet.float()
