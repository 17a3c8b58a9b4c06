"""ControlNet units at work on tiny networks: diffusers' residuals, A1111's control modes, files of every kind."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extensions.controlnet.options import Options
from tests.extensions.contexts import a_step, engine_context

pytestmark = pytest.mark.torch

PICTURE = "a" * 32
OTHER = "b" * 32
SIZE = 64


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    from tests.tiny import build_tiny_checkpoint, build_tiny_sdxl

    folder = tmp_path_factory.mktemp("checkpoints")
    return {"sd1": build_tiny_checkpoint(folder / "sd1"), "sdxl": build_tiny_sdxl(folder / "sdxl")}


@pytest.fixture(scope="module")
def unets(checkpoints):
    from diffusers import UNet2DConditionModel

    return {
        family: UNet2DConditionModel.from_pretrained(path / "unet", local_files_only=True).eval().requires_grad_(False)
        for family, path in checkpoints.items()
    }


def random(network, seed=1):
    """Nothing in it is zero."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 8)
    return network.eval()


def controlnet_of(unet, seed=1):
    from diffusers import ControlNetModel

    return random(ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 16)), seed)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory, unets):
    """models/controlnets: "one" and "two" for SD1, "xl", "adapter", and single files of "one" in both spellings."""
    import torch
    from diffusers import T2IAdapter
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("models")
    shelf = folder / "controlnets"
    one = controlnet_of(unets["sd1"])
    one.save_pretrained(shelf / "one")
    controlnet_of(unets["sd1"], 2).save_pretrained(shelf / "more/two")
    controlnet_of(unets["sdxl"]).save_pretrained(shelf / "xl")
    save_file(one.state_dict(), shelf / "one-diffusers.safetensors")
    original = {f"control_model.{name}": tensor for name, tensor in in_original_names(one.state_dict(), 1).items()}
    torch.save({"state_dict": original}, shelf / "one-original.pth")
    random(T2IAdapter(channels=[8, 16], num_res_blocks=1, downscale_factor=8)).save_pretrained(shelf / "adapter")
    (shelf / "broken.safetensors").write_bytes(b"<!DOCTYPE html>")
    save_file({"nothing": torch.ones(1)}, shelf / "nothing.safetensors")
    return folder


def in_original_names(tensors, layers_per_block):
    """A ControlNet as its authors saved it."""
    import re

    from extensions.lora.names import original_name

    def renamed(name):
        layer, _, last = name.rpartition(".")
        if found := re.fullmatch(r"controlnet_down_blocks\.(\d+)", layer):
            return f"zero_convs.{found[1]}.0.{last}"
        if layer == "controlnet_mid_block":
            return f"middle_block_out.0.{last}"
        if found := re.fullmatch(r"controlnet_cond_embedding\.(?:blocks\.(\d+)|conv_in|conv_out)", layer):
            number = 2 * (int(found[1]) + 1) if found[1] else 0 if layer.endswith("in") else 14
            return f"input_hint_block.{number}.{last}"
        return f"{original_name(layer, layers_per_block)}.{last}"

    return {renamed(name): tensor for name, tensor in tensors.items()}


def png(picture):
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def drawing(seed=0, size=SIZE):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8))


@dataclass
class Job:
    """One job's engine half on a UNet."""

    unet: Any
    models_dir: Path
    inputs: dict[str, bytes] = field(default_factory=lambda: {PICTURE: png(drawing()), OTHER: png(drawing(1))})
    request: Any = None
    told: list[str] = field(default_factory=list)
    cache: dict[str, Any] = field(default_factory=dict)

    def engine(self, **values):
        import torch

        from extensions.controlnet.engine import Engine
        from webui.extension import Components
        from webui.requests import TextToImage

        usual = {"unit1_enabled": True, "unit1_image": PICTURE, "unit1_model": "one"}
        context = engine_context(
            request=self.request or TextToImage(), models_dir=self.models_dir, inputs=self.inputs, cache=self.cache,
            warn=lambda told: self.told.append(str(told)),
        )  # fmt: skip
        engine = Engine(Options(**(usual | values)), context)
        components = Components(
            name="tiny", unet=self.unet, vae=None, text_encoders=(), tokenizers=(), prediction_type="epsilon",
            factor=8, device=torch.device("cpu"), dtype=torch.float32,
        )  # fmt: skip
        with torch.inference_mode(), engine.patch(components, ()):
            return engine

    def inputs_of(self, rows=2, size=SIZE // 8):
        import torch

        from webui.extension import UnetInputs

        generator = torch.Generator().manual_seed(5)
        is_xl = self.unet.config.addition_embed_type == "text_time"
        added = None
        if is_xl:
            pooled = torch.randn(rows, 24, generator=generator)
            added = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * rows)}
        return UnetInputs(
            latents=torch.randn(rows, 4, size, size, generator=generator), timestep=torch.tensor(500.0),
            encoder_hidden_states=torch.randn(rows, 77, self.unet.config.cross_attention_dim, generator=generator),
            unconditional_rows=rows // 2, sigma=1.0, size=(size, size), box=(0, 0, size, size), added_cond_kwargs=added,
        )  # fmt: skip

    def residuals(self, step=None, size=SIZE // 8, **values):
        """What comes out of one call, finest first and the middle last; empty when nothing was added."""
        import torch

        with torch.inference_mode():
            steered = self.engine(**values).unet_inputs(self.inputs_of(size=size), step or a_step(1, 10))
        down, middle = steered.down_block_additional_residuals, steered.mid_block_additional_residual
        return [] if down is None else [*down, middle]


@pytest.fixture
def job(unets, models_dir):
    return Job(unets["sd1"], models_dir)


def close(ours, theirs):
    import torch

    assert len(ours) == len(theirs)
    return all(torch.allclose(mine, other, atol=1e-5) for mine, other in zip(ours, theirs, strict=True))


def test_diffusers_pipeline_gives_its_unet_the_same_residuals(job, checkpoints, models_dir):
    """One unit, balanced, weight 0.7, both halves of guidance."""
    import torch
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    from webui.extension import UnetInputs

    controlnet = ControlNetModel.from_pretrained(models_dir / "controlnets/one", local_files_only=True)
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        checkpoints["sd1"], controlnet=controlnet, local_files_only=True, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    calls, forward = [], pipeline.unet.forward

    def spied(latents, timestep, **others):
        calls.append((latents, timestep, others))
        return forward(latents, timestep, **others)

    pipeline.unet.forward = spied
    pipeline("a red cat", image=drawing(), num_inference_steps=2, guidance_scale=5.0, controlnet_conditioning_scale=0.7,
             width=SIZE, height=SIZE, generator=torch.Generator().manual_seed(0))  # fmt: skip
    assert len(calls) == 2
    engine = job.engine(unit1_weight=0.7)
    for number, (latents, timestep, others) in enumerate(calls, 1):
        inputs = UnetInputs(
            latents=latents, timestep=timestep, encoder_hidden_states=others["encoder_hidden_states"],
            unconditional_rows=1, sigma=1.0, size=(SIZE // 8, SIZE // 8), box=(0, 0, SIZE // 8, SIZE // 8),
        )  # fmt: skip
        with torch.inference_mode():
            steered = engine.unet_inputs(inputs, a_step(number, 2))
        theirs = [*others["down_block_additional_residuals"], others["mid_block_additional_residual"]]
        ours = [*steered.down_block_additional_residuals, steered.mid_block_additional_residual]
        assert close(ours, theirs)
        assert max(float(each.abs().max()) for each in ours) > 0.01


@pytest.mark.parametrize("name", ["one-diffusers", "one-diffusers.safetensors", "one-original"])
def test_a_single_file_is_the_same_network_as_the_folder(job, name):
    expected = job.residuals()
    assert close(job.residuals(unit1_model=name), expected)
    assert job.told == []


def test_what_our_own_training_writes_is_used(tmp_path, job, checkpoints):
    """Both kinds: the copy of the encoder and the light one without attention; as a folder and as a file alone."""
    import shutil

    from webui.training.controlnet import build_controlnet
    from webui.training.networks import load_networks

    networks = load_networks(checkpoints["sd1"], "cpu", "fp32")
    for lite in (False, True):
        made = random(build_controlnet(networks, lite=lite, seed=0))
        folder = tmp_path / f"controlnets/made-{lite}"
        made.save_pretrained(folder)
        shutil.copy(folder / "diffusion_pytorch_model.safetensors", tmp_path / f"controlnets/file-{lite}.safetensors")
    job.models_dir = tmp_path
    for lite in (False, True):
        whole = job.residuals(unit1_model=f"made-{lite}")
        assert whole
        assert close(job.residuals(unit1_model=f"file-{lite}"), whole)
    assert job.told == []


def test_sdxl_is_steered_with_its_pooled_words_and_sizes(unets, models_dir):
    job = Job(unets["sdxl"], models_dir)
    assert len(job.residuals(unit1_model="xl")) == 7
    assert job.told == []


def test_units_add_up(job):
    one, two = job.residuals(), job.residuals(unit1_model="more/two", unit1_image=OTHER, unit1_weight=0.5)
    both = job.residuals(unit2_enabled=True, unit2_model="more/two", unit2_image=OTHER, unit2_weight=0.5)
    assert close(both, [a + b for a, b in zip(one, two, strict=True)])


def test_my_prompt_is_more_important_softens_the_fine_outputs_in_both_halves(job):
    balanced, softer = job.residuals(), job.residuals(unit1_control_mode="My prompt is more important")
    last = len(balanced) - 1
    assert close(softer, [each * 0.825 ** (last - number) for number, each in enumerate(balanced)])


def test_controlnet_is_more_important_leaves_the_negative_half_alone_besides(job):
    import torch

    softer = job.residuals(unit1_control_mode="My prompt is more important")
    ruling = job.residuals(unit1_control_mode="ControlNet is more important")
    for mine, other in zip(ruling, softer, strict=True):
        assert not mine[0].any()
        assert torch.allclose(mine[1], other[1], atol=1e-5)


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({}, range(1, 11)),
        ({"unit1_start": 0.5}, range(6, 11)),
        ({"unit1_end": 0.35}, range(1, 5)),
        ({"unit1_weight": 0.0}, ()),
        ({"unit1_enabled": False}, ()),
    ],
)
def test_a_unit_steers_in_its_share_of_the_steps(job, values, steps):
    assert [index for index in range(1, 11) if job.residuals(a_step(index, 10), **values)] == list(steps)


@pytest.mark.parametrize(
    ("passes", "phases"),
    [("Both", ["sampling", "hires"]), ("Low res only", ["sampling"]), ("High res only", ["hires"])],
)
def test_a_unit_steers_in_its_passes(job, passes, phases):
    found = [phase for phase in ("sampling", "hires") if job.residuals(a_step(1, 10, phase), unit1_passes=passes)]
    assert found == phases


def test_the_hires_pass_gets_a_control_picture_of_its_size(job):
    assert job.residuals(a_step(1, 10, "hires"), size=16)[0].shape[-2:] == (16, 16)


def test_an_adapter_steers_inside_the_blocks(job):
    """On a UNet with attention in its first block, as all have that adapters were made for."""
    import torch
    from diffusers import UNet2DConditionModel

    config = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    job.unet = random(UNet2DConditionModel.from_config(dict(job.unet.config) | config))
    with torch.inference_mode():
        inputs = job.inputs_of()
        balanced, ruling = (
            job.engine(unit1_model="adapter", unit1_control_mode=mode).unet_inputs(inputs, a_step(1, 10))
            for mode in ("Balanced", "ControlNet is more important")
        )
        plain = job.unet(inputs.latents, inputs.timestep, inputs.encoder_hidden_states)[0]
        outputs = [each.clone() for each in balanced.down_intrablock_additional_residuals]
        steered = job.unet(
            inputs.latents, inputs.timestep, inputs.encoder_hidden_states,
            down_intrablock_additional_residuals=list(balanced.down_intrablock_additional_residuals),
        )[0]  # fmt: skip
    assert not torch.allclose(plain, steered, atol=1e-3)
    assert balanced.down_block_additional_residuals is None
    for mine, other, share in zip(ruling.down_intrablock_additional_residuals, outputs, (0.825, 1.0), strict=True):
        assert not mine[0].any()
        assert torch.allclose(mine[1], other[1] * share, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"unit1_model": "nothing-like-it"}, "Unknown ControlNet 'nothing-like-it'. Known: adapter, broken, more/two"),
        ({"unit1_model": "../one"}, "Unknown ControlNet"),
        ({"unit1_model": ""}, "it has no ControlNet. Choose one."),
        ({"unit1_image": ""}, "it has no control picture. Choose one."),
        ({"unit1_model": "xl"}, "it was made for a checkpoint that reads texts 40 wide, and this one's are 16 wide."),
        ({"unit1_model": "nothing"}, "it holds no ControlNet."),
        ({"unit1_model": "broken"}, "broken.safetensors"),
    ],
)
def test_a_unit_that_cannot_be_used_is_told_and_the_others_go_on(job, values, told):
    others = {"unit2_enabled": True, "unit2_model": "one", "unit2_image": PICTURE}
    assert close(job.residuals(**values, **others), job.residuals())
    assert len(job.told) == 1
    assert job.told[0].startswith("ControlNet unit 1 was left out: ")
    assert told in job.told[0]


def test_in_img2img_the_picture_itself_is_followed(job):
    from webui.requests import ImageToImage

    expected = job.residuals(unit1_image=OTHER)
    job.request = ImageToImage(image=OTHER)
    assert close(job.residuals(unit1_image=""), expected)
    assert close(job.residuals(unit1_image=PICTURE), job.residuals())


def test_for_inpainting_the_masked_part_is_cut_out(job):
    from webui.requests import Inpaint

    mask = Image.new("L", (SIZE, SIZE))
    mask.paste(255, (0, 0, 32, SIZE))
    job.inputs["c" * 32] = png(mask)
    results = []
    for values in ({}, {"mask_mode": "Inpaint not masked"}, {"inpaint_area": "Only masked"}):
        job.request = Inpaint(image=PICTURE, mask="c" * 32, **values)
        results.append(job.residuals(unit1_image="", unit1_preprocessor="inpaint_global_harmonious"))
    masked, inverted, alone = results
    assert not close(masked, inverted)
    assert alone == []
    assert "only the masked part is painted" in job.told[0]


def test_network_and_control_picture_are_kept_for_the_next_job_and_others_are_let_go(job):
    first = job.residuals(unit1_preprocessor="canny")
    networks, hints = dict(job.cache["networks"]), dict(job.cache["hints"])
    assert close(job.residuals(unit1_preprocessor="canny"), first)
    assert list(job.cache["networks"].values())[0] is list(networks.values())[0]  # noqa: RUF015 (one each)
    assert job.cache["hints"].keys() == hints.keys()
    job.residuals(unit1_model="more/two")
    assert len(job.cache["networks"]) == 1
    assert not job.cache["networks"].keys() & networks.keys()


def test_a_file_that_was_trained_further_is_loaded_again(tmp_path, job, unets):
    import os

    path = tmp_path / "controlnets/mine"
    controlnet_of(unets["sd1"]).save_pretrained(path)
    job.models_dir = tmp_path
    before = job.residuals(unit1_model="mine")
    controlnet_of(unets["sd1"], 9).save_pretrained(path)
    os.utime(path / "config.json", ns=(0, 0))
    assert not close(job.residuals(unit1_model="mine"), before)


def test_the_infotext_tells_the_units_that_took_part(job):
    engine = job.engine(unit1_preprocessor="canny", unit2_enabled=True, unit2_model="missing", unit2_image=PICTURE)
    assert engine.before_save(None, 0) == {
        "ControlNet 0": "Module: canny, Model: one, Weight: 1.0, Resize Mode: Crop and Resize, Processor Res: 512, "
        "Threshold A: -1.0, Threshold B: -1.0, Guidance Start: 0.0, Guidance End: 1.0, Pixel Perfect: False, "
        "Control Mode: Balanced, Hr Option: Both"
    }
