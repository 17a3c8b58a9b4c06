"""Merging of two or three checkpoints of one family: which tensor of the result comes from which, and by what formula.

Sums are made in fp32 and rounded once. What fits to nothing is kept from model A or left out, and told either way.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType

import torch

from webui.engine.forge.plans import Entry, Plan, as_in, precision_of, taken
from webui.engine.forge.renaming import unet_keys, vae_entries
from webui.engine.forge.sources import Source, Spec
from webui.engine.loading.shapes import UNET, VAE_PREFIXES
from webui.errors import CheckpointError
from webui.library import Passport
from webui.model_requests import MergeModels, block_weights
from webui.sentences import Sentence

SHARED_CHANNELS = 4
"""Of the denoiser's input: the latents. What inpainting and instruct-pix2pix checkpoints see more comes from A."""
FIRST = VAE_PREFIXES[0]
"""Begins the keys of the autoencoder in a whole checkpoint."""
KEPT_METADATA = ("modelspec.architecture", "modelspec.resolution", "modelspec.implementation")
"""Of model A: what other tools recognise a file by and what still holds of the result."""
SKIPPED = "position_ids"
"""Numbers of the places in a text, which are no weights."""


@dataclass
class Merge:
    """A plan and what is to be said about it."""

    plan: Plan
    warnings: list[Sentence] = field(default_factory=list)


def plan_merge(request: MergeModels, sources: Sequence[Source], vae: Source | None) -> Merge:
    """`sources`: A, then B and C as far as the method needs them; `vae`: what is baked in.

    Raises `CheckpointError` when they cannot be merged.
    """
    a = sources[0]
    if any(source.is_folder != a.is_folder for source in sources):
        raise CheckpointError(
            "A folder of diffusers and a single file cannot be merged with each other. Convert one of them first."
        )
    told = _Told()
    rate = _rates(request, a, told)
    entries = {key: _entry(request, sources, key, rate(key), told) for key in a.specs}
    for source in sources[1:]:
        told.unknown += [key for key in source.specs if key not in a.specs]
    if request.needs_secondary and not told.mixed:
        raise CheckpointError(
            "{other} shares no weight with {name}: they are of different kinds. Choose checkpoints of one family.",
            other=sources[1].name, name=a.name,
        )  # fmt: skip
    left = [key for key in entries if request.discard and re.search(request.discard, key)]
    plan = as_in(a, {key: entry for key, entry in entries.items() if key not in left})
    if vae is not None:
        _bake(plan, a, vae, request.precision)
    return Merge(plan, [*told.sentences(a.name), *_of_left(left)])


@dataclass
class _Told:
    """Keys that something was noticed about."""

    mixed: int = 0
    alone: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)

    def sentences(self, name: str) -> list[Sentence]:
        told = []
        if self.alone:
            told.append(Sentence(
                "{count} weights that only {name} has are kept as they are, first {first}.",
                count=len(self.alone), name=name, first=self.alone[0][:120],
            ))  # fmt: skip
        if self.misshapen:
            told.append(Sentence(
                "{count} weights have another shape in the other model and are kept from {name}, first {first}.",
                count=len(self.misshapen), name=name, first=self.misshapen[0][:120],
            ))  # fmt: skip
        if self.unknown:
            told.append(Sentence(
                "{count} weights of the other models have no place in {name} and are left out, first {first}.",
                count=len(self.unknown), name=name, first=self.unknown[0][:120],
            ))  # fmt: skip
        if self.blocks:
            told.append(Sentence("{name} has no block {blocks}.", name=name, blocks=", ".join(self.blocks)))
        return told


def _of_left(left: Sequence[str]) -> list[Sentence]:
    if not left:
        return []
    return [Sentence("{count} weights were left out as asked, first {first}.", count=len(left), first=left[0][:120])]


def _entry(request: MergeModels, sources: Sequence[Source], key: str, rate: float, told: _Told) -> Entry:
    a, others = sources[0], sources[1:]
    spec = a.specs[key]
    if not others or not spec.dtype.is_floating_point or key.endswith(SKIPPED):
        return taken(a, key, request.precision)
    if any(key not in source.specs for source in others):
        told.alone.append(key)
        return taken(a, key, request.precision)
    part = _shared(spec.shape, [source.specs[key].shape for source in others])
    if part is None:
        told.misshapen.append(key)
        return taken(a, key, request.precision)
    told.mixed += 1

    def make() -> torch.Tensor:
        own = a.read(key).float()
        own[part] = mixed(own[part], [source.read(key).float() for source in others], rate)
        return own

    return Entry(Spec(spec.shape, precision_of(spec.dtype, request.precision)), make)


def mixed(a: torch.Tensor, others: Sequence[torch.Tensor], rate: float) -> torch.Tensor:
    """With one other A (1 - M) + B M, with two A + (B - C) M; all of one shape, in fp32."""
    if len(others) == 1:
        return a * (1 - rate) + others[0] * rate
    return a + (others[0] - others[1]) * rate


Part = tuple[EllipsisType | slice, ...]


def _shared(shape: tuple[int, ...], others: Sequence[tuple[int, ...]]) -> Part | None:
    """The part of a tensor of A that the others have too: all of it, or the latents' channels of a denoiser's input."""
    if all(other == shape for other in others):
        return (...,)
    is_wider = len(shape) == 4 and shape[1] > SHARED_CHANNELS
    narrow = (shape[0], SHARED_CHANNELS, *shape[2:]) if is_wider else None
    if all(other == narrow for other in others):
        return slice(None), slice(SHARED_CHANNELS)
    return None


def _rates(request: MergeModels, a: Source, told: _Told) -> Callable[[str], float]:
    """Key -> multiplier: that of its block, or the one for all."""
    weights = block_weights(request.block_weights)
    if not weights:
        return lambda key: request.multiplier
    blocks = blocks_of(a)
    told.blocks += sorted(weights.keys() - {*blocks.values(), "BASE"})
    return lambda key: weights.get(blocks.get(key, "BASE"), request.multiplier)


def blocks_of(source: Source) -> dict[str, str]:
    """Key of a denoiser's tensor -> its block: IN00 …, M00, OUT00 …; all others belong to BASE."""
    if source.is_folder:
        names = unet_keys([key.removeprefix("unet/") for key in source.specs if key.startswith("unet/")])
        keys = {f"unet/{key}": name for key, name in names.items()}
    else:
        keys = {key: key.removeprefix(UNET) for key in source.specs if key.startswith(UNET)}
    last = max((int(name.split(".")[1]) for name in keys.values() if name.startswith("output_blocks.")), default=0)
    return {key: _block(name, last) for key, name in keys.items()}


def _block(name: str, last: int) -> str:
    """As merging tools count: what stands before all blocks goes with the first, what stands behind with the last."""
    side, number = name.split(".")[:2]
    if side in ("input_blocks", "output_blocks"):
        return f"{'IN' if side == 'input_blocks' else 'OUT'}{int(number):02}"
    return {"middle_block": "M00", "out": f"OUT{last:02}"}.get(side, "IN00")


def _bake(plan: Plan, a: Source, vae: Source, precision: str) -> None:
    """Put an autoencoder in place of model A's own. Raises `CheckpointError` when it has other weights."""
    bare = _without_prefix({key.removeprefix("/"): taken(vae, key, precision) for key in vae.specs})
    file, begin = (next(name for name in plan.files if name.startswith("vae/")), "") if a.is_folder else ("", FIRST)
    if not a.is_folder:
        bare = vae_entries(bare)
    entries = plan.files[file]
    wanted = {key for key in entries if key.startswith(begin)}
    given = {f"{begin}{key}": entry for key, entry in bare.items()}
    if wanted - given.keys() or any(given[key].spec.shape != entries[key].spec.shape for key in wanted):
        raise CheckpointError(
            "The VAE {vae} has other weights than that of {name}. Choose one of the same kind and layout.",
            vae=vae.name, name=a.name,
        )  # fmt: skip
    for key in wanted:
        entries[key] = given[key]


def _without_prefix(entries: dict[str, Entry]) -> dict[str, Entry]:
    """Of an autoencoder's own tensors, also where they stand in a whole checkpoint."""
    prefix = next((each for each in VAE_PREFIXES if any(key.startswith(each) for key in entries)), "")
    return {key.removeprefix(prefix): entry for key, entry in entries.items() if key.startswith(prefix)}


def recipe(
    request: MergeModels, passports: Sequence[Passport], metadata: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    """Metadata of the result: how it was made, as AUTOMATIC1111's merger writes it. Reads hashes that are known."""
    hashes: list[str | None] = [*(passport.sha256 for passport in passports), None, None]
    task = passports[0].task
    told: dict[str, object] = {
        "type": "webui",
        "primary_model_hash": hashes[0],
        "secondary_model_hash": hashes[1],
        "tertiary_model_hash": hashes[2],
        "interp_method": request.method,
        "multiplier": request.multiplier,
        "save_as_half": request.precision == "fp16",
        "custom_name": request.name,
        "config_source": 0,
        "bake_in_vae": request.baked_vae or "None",
        "discard_weights": request.discard,
        "is_inpainting": task == "inpaint",
        "is_instruct_pix2pix": task == "instruct-pix2pix",
    }
    if request.block_weights:
        told["block_weights"] = request.block_weights
    models: dict[str, object] = {}
    for passport, own in zip(passports, metadata, strict=True):
        earlier = own.get("sd_merge_recipe")
        models[passport.sha256] = {"name": passport.name, "legacy_hash": None, "sd_merge_recipe": earlier}
        models.update(_models_in(own))
    kept = {key: metadata[0][key] for key in KEPT_METADATA if key in metadata[0]}
    if passports[0].prediction_type in ("epsilon", "v_prediction"):
        kept["modelspec.prediction_type"] = passports[0].prediction_type.removesuffix("_prediction")
    return {"format": "pt", **kept, "sd_merge_recipe": json.dumps(told), "sd_merge_models": json.dumps(models)}


def _models_in(metadata: Mapping[str, str]) -> dict[str, object]:
    """What an earlier merge was made of."""
    try:
        models = json.loads(metadata.get("sd_merge_models", "{}"))
    except (ValueError, RecursionError):
        return {}
    return models if isinstance(models, dict) else {}
