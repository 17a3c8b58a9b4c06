"""Converting one model: precision, EMA, pickles to safetensors, and checkpoints between one file and a folder."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from webui.engine.device import Device
from webui.engine.forge.merging import Merge
from webui.engine.forge.plans import PRECISIONS, Entry, Plan, as_in, taken
from webui.engine.forge.renaming import clip_entries, open_clip_entries, unet_keys, vae_entries
from webui.engine.forge.sources import Source, Spec
from webui.engine.loading.parts import Parts
from webui.engine.loading.shapes import (
    CLIP_SD,
    CLIP_XL,
    OPEN_CLIP_REFINER,
    OPEN_CLIP_SD,
    OPEN_CLIP_XL,
    UNET,
    VAE_PREFIXES,
)
from webui.engine.loading.single_file import noise_config, read_single_file
from webui.engine.text import Tower
from webui.errors import CheckpointError
from webui.library import Passport, read_json
from webui.library.weighing import EMA
from webui.model_requests import ConvertModel
from webui.prompt.clip_vocabulary import clip_merges
from webui.sentences import Sentence

CLIP_WORDS = 49_408
"""That the text encoder of a single file knows: such files have no words of their own."""
PIPELINES = {
    ("sd", "inpaint"): "StableDiffusionInpaintPipeline",
    ("sd", "instruct-pix2pix"): "StableDiffusionInstructPix2PixPipeline",
    ("sd", "text"): "StableDiffusionPipeline",
    ("xl", "inpaint"): "StableDiffusionXLInpaintPipeline",
    ("xl", "instruct-pix2pix"): "StableDiffusionXLInstructPix2PixPipeline",
    ("xl", "text"): "StableDiffusionXLPipeline",
}
REFINER = "StableDiffusionXLImg2ImgPipeline"


def plan_conversion(request: ConvertModel, source: Source, passport: Passport | None) -> Merge:
    """What the converted model consists of. `passport`: of a checkpoint. Raises `CheckpointError`."""
    warnings = [
        Sentence("{count} entries that are no weights were left out, first {first}.",
                 count=len(source.left), first=source.left[0][:120])
    ] if source.left else []  # fmt: skip
    kept = _chosen(request, source)
    if request.layout == "file" and source.is_folder:
        return Merge(_to_file(source, kept, passport), warnings)
    if request.layout == "folder" and not source.is_folder:
        assert passport is not None
        return Merge(_to_folder(request, source, passport), warnings)
    return Merge(as_in(source, kept), warnings)


def _chosen(request: ConvertModel, source: Source) -> dict[str, Entry]:
    """Tensors of the source by its own keys, with what the request says of EMA."""
    entries = {key: taken(source, key, request.precision) for key in source.specs}
    averages = {key for key in entries if key.startswith(EMA)}
    if request.ema == "keep":
        return entries
    if request.ema == "use":
        entries |= _averaged(request, source, averages)
    return {key: entry for key, entry in entries.items() if key not in averages}


def _averaged(request: ConvertModel, source: Source, averages: set[str]) -> dict[str, Entry]:
    """The denoiser's tensors from their moving average. LDM calls that by the key without its dots."""
    found = {}
    for key in source.specs:
        average = f"{EMA}{key.removeprefix('model.').replace('.', '')}"
        if key.startswith(UNET) and average in averages:
            found[key] = taken(source, average, request.precision)
    if not found:
        raise CheckpointError("{name} holds no EMA weights. Choose keep or drop for them.", name=source.name)
    return found


# A folder of diffusers as one file.


def _to_file(source: Source, entries: Mapping[str, Entry], passport: Passport | None) -> Plan:
    assert passport is not None
    try:
        made = _ldm_entries(source, entries)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            "{name} cannot become one file: its networks are of a kind that has no names there ({reason}).",
            name=source.name, reason=str(error)[:120],
        ) from error  # fmt: skip
    metadata = {"format": "pt"}
    if passport.prediction_type == "v_prediction":
        metadata["modelspec.prediction_type"] = "v"
    return Plan(is_folder=False, files={"": made}, metadata=metadata)


def _ldm_entries(source: Source, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    parts: dict[str, dict[str, Entry]] = {}
    for key, entry in entries.items():
        part, _, own = key.partition("/")
        parts.setdefault(part, {})[own] = entry
    if "quantize.embedding.weight" in parts["vae"] or "conditioner" in parts:
        raise ValueError("VQ or no text encoder")
    unet = unet_keys(list(parts["unet"]))
    made = {f"{UNET}{unet[key]}": entry for key, entry in parts["unet"].items()}
    made |= {f"{VAE_PREFIXES[0]}{key}": entry for key, entry in vae_entries(parts["vae"]).items()}
    return made | _texts(source, parts)


def _texts(source: Source, parts: Mapping[str, Mapping[str, Entry]]) -> dict[str, Entry]:
    """The text encoders where LDM has them, by which ones there are. Raises `CheckpointError` for words of its own."""
    first, second = parts.get("text_encoder"), parts.get("text_encoder_2")
    for encoder in (first, second):
        _check_words(source, encoder)
    if first is None and second is not None:
        return _below(OPEN_CLIP_REFINER, open_clip_entries(second, spare=False))
    if first is not None and second is not None:
        return _below(CLIP_XL, clip_entries(first)) | _below(OPEN_CLIP_XL, open_clip_entries(second, spare=False))
    if first is None:
        raise ValueError("no text encoder")
    if read_json(source.path / "text_encoder" / "config.json").get("hidden_act") == "gelu":
        return _below(OPEN_CLIP_SD, open_clip_entries(first, spare=True))
    return _below(CLIP_SD, clip_entries(first))


def _below(prefix: str, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    return {f"{prefix}{key}": entry for key, entry in entries.items()}


def _check_words(source: Source, encoder: Mapping[str, Entry] | None) -> None:
    words = next((entry.spec.shape[0] for key, entry in (encoder or {}).items() if "token_embedding" in key), None)
    if words not in (None, CLIP_WORDS):
        raise CheckpointError(
            "{name} has words of its own, {found} of them, which a single file cannot hold. Use it as a folder.",
            name=source.name, found=words or 0,
        )  # fmt: skip


# One file as a folder of diffusers.


def _to_folder(request: ConvertModel, source: Source, passport: Passport) -> Plan:
    """The networks as `loading` builds them, in memory: this conversion alone needs as much as the whole model."""
    dtype = PRECISIONS.get(request.precision) or _main_precision(source)
    parts = read_single_file(passport, Device(torch_device=torch.device("cpu"), name="CPU", dtype=dtype))
    is_xl = parts.unet.config.addition_embed_type == "text_time"
    factor = 2 ** (len(parts.vae.config.block_out_channels) - 1)
    parts.unet.register_to_config(sample_size=passport.native_size // factor)
    parts.vae.register_to_config(sample_size=passport.native_size)
    plan = Plan(is_folder=True, files={})
    index: dict[str, Any] = {"_class_name": _pipeline(passport, parts, is_xl=is_xl), "_diffusers_version": "0.42.1"}
    networks = {"unet": ("diffusers", parts.unet), "vae": ("diffusers", parts.vae)}
    names = ["_2"] if len(parts.towers) == 1 and is_xl else ["", "_2"]
    places = ("text_encoder", "tokenizer", *(("text_encoder_2", "tokenizer_2") if is_xl else ()))
    index |= {place: [None, None] for place in places}
    for name, tower in zip(names, parts.towers, strict=False):
        networks[f"text_encoder{name}"] = ("transformers", tower.encoder)
        plan.written |= _tokenizer(f"tokenizer{name}", tower)
        index[f"tokenizer{name}"] = ["transformers", "CLIPTokenizer"]
    for part, (library, network) in networks.items():
        _add_network(plan, part, network, library, dtype)
        index[part] = [library, type(network).__name__]
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    noise = {"_class_name": "DDIMScheduler", "clip_sample": False, **noise_config(passport)}
    plan.written["scheduler/scheduler_config.json"] = _json(noise)
    more = {"force_zeros_for_empty_prompt": parts.zeroes_empty} if is_xl else {"safety_checker": [None, None]}
    plan.written["model_index.json"] = _json({**index, **more})
    return plan


def _main_precision(source: Source) -> torch.dtype:
    """Of the denoiser's first tensor."""
    return next(spec.dtype for key, spec in source.specs.items() if key.startswith(UNET))


def _pipeline(passport: Passport, parts: Parts, *, is_xl: bool) -> str:
    if is_xl and len(parts.towers) == 1:
        return REFINER
    return PIPELINES["xl" if is_xl else "sd", passport.task]


def _add_network(plan: Plan, part: str, network: Any, library: str, dtype: torch.dtype) -> None:
    """Its weights and its configuration, as diffusers and transformers call their files."""
    file = "model" if library == "transformers" else "diffusion_pytorch_model"
    plan.files[f"{part}/{file}.safetensors"] = {
        key: _held(tensor, dtype) for key, tensor in network.state_dict().items() if not key.endswith("position_ids")
    }
    config = network.config.to_json_string() if library == "transformers" else network.to_json_string()
    plan.written[f"{part}/config.json"] = config.encode()


def _held(tensor: torch.Tensor, dtype: torch.dtype) -> Entry:
    wanted = dtype if tensor.dtype.is_floating_point else tensor.dtype
    return Entry(Spec(tuple(tensor.shape), wanted), lambda: tensor)


def _tokenizer(folder: str, tower: Tower) -> dict[str, bytes]:
    """Its files, with CLIP's own words."""
    with tempfile.TemporaryDirectory(prefix="easel-") as made:
        tower.tokenizer.save_pretrained(made)
        files = {f"{folder}/{path.name}": path.read_bytes() for path in sorted(Path(made).iterdir())}
    vocabulary = json.dumps(dict(tower.tokenizer.get_vocab()), ensure_ascii=False).encode()
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in clip_merges())]) + "\n"
    return {f"{folder}/vocab.json": vocabulary, f"{folder}/merges.txt": merges.encode(), **files}


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()
