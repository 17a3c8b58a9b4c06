"""Pictures of other tools: what is read of each, what is named as not taken, and hostile graphs.

The texts are written here after the tools' documented formats; no picture of theirs is used.
"""

import io
import json
import time
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from webui.metadata import read
from webui.metadata.names import of_comfyui, of_invokeai, of_novelai
from webui.registry import SAMPLERS, SCHEDULES
from webui.requests import build


def picture(**texts):
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_itxt(key.replace("__", "-"), text if isinstance(text, str) else json.dumps(text))
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG", pnginfo=info)
    found = read(buffer.getvalue())
    needed = {"image": "0" * 32} if found.kind == "img2img" else {}
    build(found.kind, {**found.values, **needed})
    return found


def told(found):
    return {each.name: str(each.why) for each in found.unmapped}


NO_SETTING = "Easel has no setting for it."
FOX = {"prompt": "a fox", "negative_prompt": "blurry", "num_inference_steps": 30, "guidance_scale": 6.5, "seed": 7,
       "width": 768, "height": 512, "checkpoint": "model", "sampler": "DPM++ 2M", "schedule": "Karras"}  # fmt: skip


# Forge and SD.Next


@pytest.mark.row("M5")
def test_forge_is_recognised_and_its_own_fields_are_named():
    found = picture(
        parameters="a fox\nNegative prompt: blurry\n"
        "Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, "
        "Distilled CFG Scale: 3.5, Seed: 7, Size: 768x512, Model hash: abc, Model: model, NGMS: 4, Module 1: ae, "
        "Version: f2.0.1v1.10.1-previous-1-g0"
    )
    assert (found.tool, found.values) == ("Forge", FOX)
    assert told(found) == {"Distilled CFG Scale": NO_SETTING, "NGMS": NO_SETTING, "Module 1": NO_SETTING}
    assert found.fields["Module 1"] == "ae"


def test_the_strength_of_a_second_pass_does_not_make_a_picture_from_a_picture():
    found = picture(
        parameters="a\nSteps: 30, Sampler: Euler, CFG scale: 7, Seed: 7, Size: 512x512, Denoising strength: 0.7, "
        "Hires upscale: 2, Hires steps: 10, Hires upscaler: Latent"
    )
    assert found.kind == "txt2img"
    assert told(found) == {}
    hires = {name: value for name, value in found.values.items() if name.startswith("hires")}
    assert hires == {
        "hires": True, "hires_scale": 2.0, "hires_steps": 10, "hires_upscaler": "Latent", "hires_strength": 0.7,
    }  # fmt: skip


def test_a_picture_of_the_oldest_hires_gives_both_sizes():
    found = picture(
        parameters="a\nSteps: 30, Sampler: Euler, CFG scale: 7, Seed: 7, Size: 1024x768, Denoising strength: 0.7, "
        "First pass size: 512x384"
    )
    assert (found.values["width"], found.values["height"], found.values["hires"]) == (512, 384, True)
    assert (found.values["hires_width"], found.values["hires_height"]) == (1024, 768)


@pytest.mark.row("M5")
def test_sdnext_is_recognised_with_its_own_name_of_the_schedule():
    found = picture(
        parameters="a fox\nNegative prompt: blurry\n"
        "Steps: 30, Size: 768x512, Sampler: DPM++ 2M, Seed: 7, CFG scale: 6.5, "
        "App: SD.Next, Version: 0c7038e, Pipeline: StableDiffusionPipeline, Operations: txt2img, Model: model, "
        "Sampler sigma: karras, CFG rescale: 0.7"
    )
    assert (found.tool, found.values) == ("SD.Next", FOX)
    assert told(found) == {"CFG rescale": NO_SETTING}


@pytest.mark.parametrize(
    ("version", "tool"),
    [("Version: v1.10.1", "AUTOMATIC1111"), ("Module 1: x", "Forge"), ("Version: Fooocus v2.5.5", "Fooocus"),
     ("Version: ComfyUI", "ComfyUI"), ("Version: easel 0.1", "Easel"), ("Version: neo", "Forge")],
)  # fmt: skip
def test_the_version_tells_the_tool(version, tool):
    assert picture(parameters=f"a\nSteps: 1, Seed: 1, Size: 64x64, {version}").tool == tool


# ComfyUI


def graph(**changes):
    nodes = {
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 7, "steps": 30, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
            "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/model.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 768, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["10", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "oil.safetensors", "model": ["4", 0]}},
    }  # fmt: skip
    return nodes | changes


@pytest.mark.row("M5")
def test_a_comfyui_graph_is_walked_from_its_sampler():
    found = picture(prompt=graph(), workflow="{}")
    assert (found.tool, found.kind, found.values) == ("ComfyUI", "txt2img", FOX)
    assert [(each.name, each.value) for each in found.unmapped] == [("LoraLoader", "oil.safetensors")]
    assert json.loads(found.parameters) == graph()


def test_a_graph_with_linked_values_controlnet_and_a_second_pass_gives_the_first_pass():
    second = {"class_type": "KSampler", "inputs": {
        "seed": 9, "steps": 10, "cfg": 3, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5,
        "model": ["4", 0], "positive": ["11", 0], "negative": ["11", 1], "latent_image": ["13", 0]}}  # fmt: skip
    first = graph()["3"]["inputs"] | {"positive": ["11", 0], "negative": ["11", 1], "seed": ["12", 0]}
    nodes = {
        "1": second,
        **graph(),
        "3": {"class_type": "KSampler", "inputs": first},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["14", 0], "clip": ["4", 1]}},
        "11": {"class_type": "ControlNetApplyAdvanced", "inputs": {
            "positive": ["6", 0], "negative": ["7", 0], "control_net": ["15", 0], "strength": 1}},
        "12": {"class_type": "PrimitiveInt", "inputs": {"value": 7}},
        "13": {"class_type": "LatentUpscale", "inputs": {"width": 1536, "height": 1024, "samples": ["3", 0]}},
        "14": {"class_type": "String", "inputs": {"value": "a fox"}},
    }  # fmt: skip
    found = picture(prompt=nodes)
    assert found.values == FOX
    assert told(found)["KSampler"] == "It is another pass of the sampler."


def test_the_custom_sampler_is_read_from_its_parts():
    nodes = {
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0], "sigmas": ["5", 0], "latent_image": ["6", 0]}},
        "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
        "3": {"class_type": "CFGGuider", "inputs": {
            "model": ["7", 0], "positive": ["8", 0], "negative": ["9", 0], "cfg": 6.5}},
        "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
        "5": {"class_type": "BasicScheduler", "inputs": {
            "scheduler": "karras", "steps": 30, "denoise": 1.0, "model": ["7", 0]}},
        "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 768, "height": 512}},
        "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "model.safetensors"}},
        "8": {"class_type": "CLIPTextEncodeFlux", "inputs": {"clip_l": "a fox", "t5xxl": "a fox", "guidance": 3.5}},
        "9": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry"}},
    }  # fmt: skip
    assert picture(prompt=nodes).values == FOX


def test_a_graph_that_begins_with_a_picture_gives_img2img_and_its_strength():
    sampler = graph()["3"]["inputs"] | {"denoise": 0.6, "latent_image": ["20", 0]}
    encode = {"class_type": "VAEEncode", "inputs": {"pixels": ["21", 0]}}
    load = {"class_type": "LoadImage", "inputs": {"image": "secret.png"}}
    found = picture(prompt=graph(**{"3": {"class_type": "KSampler", "inputs": sampler}, "20": encode, "21": load}))
    assert (found.kind, found.values["strength"]) == ("img2img", 0.6)
    assert "width" not in found.values


def test_combined_texts_are_joined_and_said():
    combine = {
        "class_type": "ConditioningConcat",
        "inputs": {"conditioning_to": ["6", 0], "conditioning_from": ["31", 0]},
    }
    other = {"class_type": "CLIPTextEncode", "inputs": {"text": "in snow", "clip": ["10", 1]}}
    sampler = graph()["3"]["inputs"] | {"positive": ["30", 0]}
    nodes = graph(**{"3": {"class_type": "KSampler", "inputs": sampler}, "30": combine, "31": other})
    found = picture(prompt=nodes)
    assert found.values["prompt"] == "a fox\nin snow"
    assert told(found)["positive"].startswith("Several texts were combined")


def test_names_that_are_not_here_and_seeds_that_are_too_large_are_named():
    sampler = graph()["3"]["inputs"] | {"sampler_name": "nobodys", "scheduler": "kl_optimal_x", "seed": 2**60}
    found = picture(prompt=graph(**{"3": {"class_type": "KSampler", "inputs": sampler}}))
    assert not {"sampler", "schedule", "seed"} & found.values.keys()
    assert {"sampler_name", "scheduler", "seed"} <= told(found).keys()
    assert found.fields["seed"] == str(2**60)


def test_webp_files_of_comfyui_are_read():
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(graph())
    exif[0x010F] = "workflow:{}"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "WEBP", exif=exif.tobytes())
    assert read(buffer.getvalue()).values == FOX


def test_circular_and_wrong_links_end():
    loop = {
        "3": {"class_type": "KSampler", "inputs": {
            "seed": ["3", 0], "steps": ["3", 0], "cfg": ["404", 0], "sampler_name": [[], {}], "scheduler": {"a": 1},
            "model": ["3", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["3", 0]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["6", 0], "more": ["3", 0]}},
        "7": None, "8": {"class_type": "KSampler", "inputs": 5}, "9": [],
    }  # fmt: skip
    found = picture(prompt=loop)
    assert (found.tool, found.values) == ("ComfyUI", {"prompt": "", "negative_prompt": ""})


def chain(length):
    nodes = {
        str(n): {"class_type": "Reroute", "inputs": {"a": [str(n + 1), 0], "b": [str(n // 2), 0]}}
        for n in range(length)
    }
    links = {"positive": ["0", 0], "negative": ["0", 0], "model": ["0", 0], "latent_image": ["0", 0], "seed": ["0", 0]}
    return nodes | {f"k{n}": {"class_type": "KSampler", "inputs": links} for n in range(100)}


@pytest.mark.parametrize(("length", "reason"), [(4_800, None), (9_000, "Its graph has more than 5,000 nodes.")])
def test_very_large_graphs_are_walked_quickly_or_refused_in_words(length, reason):
    nodes = chain(length)
    began = time.process_time()
    found = picture(prompt=nodes)
    assert time.process_time() - began < 5
    assert found.tool == "ComfyUI"
    assert told(found).get("prompt") == reason


def test_a_graph_without_a_known_sampler_is_said_to_be_one():
    found = picture(prompt={"1": {"class_type": "LoadImage", "inputs": {}}})
    assert (found.tool, found.values) == ("ComfyUI", {})
    assert told(found) == {"prompt": "Its graph has no sampler node that is known."}


# InvokeAI


@pytest.mark.row("M5")
def test_invokeai_metadata_is_read():
    found = picture(invokeai_metadata={
        "app_version": "5.0.0", "generation_mode": "txt2img", "positive_prompt": "a fox", "negative_prompt": "blurry",
        "width": 768, "height": 512, "seed": 7, "cfg_scale": 6.5, "steps": 30, "scheduler": "dpmpp_2m_k",
        "model": {"name": "model", "base": "sd-1", "hash": "x"}, "loras": [{"model": {"name": "oil"}}], "clip_skip": 0,
    })  # fmt: skip
    assert (found.tool, found.kind, found.values) == ("InvokeAI", "txt2img", FOX)
    assert told(found) == {"loras": NO_SETTING}


def test_the_metadata_of_invokeai_2_are_read_with_the_negative_prompt_in_brackets():
    image = {"prompt": [{"prompt": "a fox [blurry]", "weight": 1.0}], "steps": 30, "cfg_scale": 6.5, "width": 768,
             "height": 512, "seed": 7, "type": "txt2img", "sampler": "k_dpmpp_2m", "hires_fix": True}  # fmt: skip
    found = picture(sd__metadata={"model_weights": "model", "app_id": "invoke-ai/InvokeAI", "image": image})
    assert found.values == FOX | {"schedule": "Automatic"}
    assert told(found) == {"hires_fix": NO_SETTING}


def test_the_oldest_dream_command_is_read():
    found = picture(Dream='"a "big" fox [blurry]" -s 30 -S7 -W 768 -H 512 -C 6.5 -A k_euler_a')
    assert found.values == {
        "prompt": 'a "big" fox', "negative_prompt": "blurry", "num_inference_steps": 30, "seed": 7, "width": 768,
        "height": 512, "guidance_scale": 6.5, "sampler": "Euler a", "schedule": "Automatic",
    }  # fmt: skip


# Fooocus


@pytest.mark.row("M5")
def test_fooocus_json_is_read():
    found = picture(fooocus_scheme="fooocus", parameters={
        "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "model.safetensors", "base_model_hash": "x", "seed": "7",
        "guidance_scale": 6.5, "metadata_scheme": "fooocus", "negative_prompt": "blurry", "performance": "Speed",
        "prompt": "a fox", "resolution": "(768, 512)", "sampler": "dpmpp_2m", "scheduler": "karras", "steps": 30,
        "styles": "['Fooocus V2']", "refiner_model": "None", "loras": [], "version": "Fooocus v2.5.5",
    })  # fmt: skip
    assert (found.tool, found.values) == ("Fooocus", FOX)
    assert told(found) == {"styles": NO_SETTING, "adm_guidance": NO_SETTING}


def test_fooocus_json_in_the_exif_of_a_jpeg_is_read():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = json.dumps({"base_model": "model", "prompt": "a fox", "seed": "3"}).encode()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif.tobytes())
    assert read(buffer.getvalue()).values == {"prompt": "a fox", "seed": 3, "checkpoint": "model"}


# NovelAI

NOVELAI = {"prompt": "a {fox}", "uc": "blurry", "steps": 30, "scale": 6.5, "seed": 7, "width": 768, "height": 512,
           "sampler": "k_dpmpp_2m", "noise_schedule": "karras", "sm": True, "uncond_scale": 1.0}  # fmt: skip
NOVELAI_TEXTS = {"Software": "NovelAI", "Source": "NovelAI Diffusion V3", "Comment": json.dumps(NOVELAI)}
FROM_NOVELAI = {name: value for name, value in FOX.items() if name != "checkpoint"} | {
    "prompt": "a {fox}", "eta_noise_seed_delta": 31337, "clip_skip": 2,
}  # fmt: skip


@pytest.mark.row("M5")
def test_novelai_is_read_from_its_texts():
    found = picture(**NOVELAI_TEXTS)
    assert (found.tool, found.values) == ("NovelAI", FROM_NOVELAI)
    assert told(found) == {
        "sm": NO_SETTING,
        "prompt": "Its braces are weights in NovelAI and plain text here.",
    }


def test_novelai_is_read_from_the_alpha_channel():
    packer = zlib.compressobj(wbits=31)
    payload = packer.compress(json.dumps(NOVELAI_TEXTS).encode()) + packer.flush()
    data = b"stealth_pngcomp" + (len(payload) * 8).to_bytes(4) + payload
    alpha = np.full((64, 80), 255, np.uint8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    columns = alpha.T.reshape(-1).copy()
    columns[: bits.size] = 254 | bits
    values = np.dstack([np.zeros((64, 80, 3), np.uint8), columns.reshape(80, 64).T])
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    found = read(buffer.getvalue())
    assert (found.tool, found.values) == ("NovelAI", FROM_NOVELAI)


# Nobody


@pytest.mark.parametrize("texts", [{}, {"Software": "Paint"}, {"Comment": "hello"}, {"prompt": '{"a": {"b": 1}}'}])
@pytest.mark.row("M5")
def test_what_nobody_wrote_is_not_recognised_and_shown(texts):
    found = picture(**texts)
    assert (found.tool, found.values, found.is_ours) == ("", {}, False)
    assert found.fields == texts


def test_every_name_that_is_translated_to_one_of_ours_is_known():
    for sampler in ("euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "uni_pc"):
        assert of_comfyui(sampler, "karras")[0] in SAMPLERS
    for schedule in ("normal", "karras", "exponential", "sgm_uniform", "simple"):
        assert of_comfyui("euler", schedule)[1] in SCHEDULES
    for scheduler in ("euler", "euler_k", "euler_a", "heun_k", "dpmpp_2m_k", "dpmpp_2m_sde", "ddim", "unipc_k"):
        sampler, schedule = of_invokeai(scheduler)
        assert (sampler in SAMPLERS, schedule) == (True, "Karras" if scheduler.endswith("_k") else "Automatic")
    assert of_novelai("k_euler_ancestral", "native") == ("Euler a", "Automatic")
    assert of_novelai("ddim_v3", "karras") == ("DDIM", "Karras")
