"""LoRAs of a prompt, applied to the checkpoint while its pictures are made. Which file does what is told in `files`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import nn

from webui.extension import (
    CheckpointError,
    Components,
    EngineContext,
    EngineHooks,
    Sentence,
    Step,
    Tag,
    contextmanager,
    replace,
)

from .files import LoraFile, sorted_by_layer
from .mixture import Mixture, Networks, Part, Spare, Swapped, fit, mix, swapped
from .names import Place
from .shelf import SAFETENSORS, Found, Shelf, header
from .tags import Wanted, wanted

FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 1280: "SDXL's refiner", 2048: "Stable Diffusion XL"}
"""Width of the text that a UNet reads -> what has it."""


@dataclass(frozen=True)
class Chosen:
    """A LoRA that was asked for and is there."""

    wanted: Wanted
    path: Path

    @property
    def key(self) -> object:
        """Changes when what is asked for does, or the file."""
        stat = self.path.stat()
        return self.wanted, self.path, stat.st_size, stat.st_mtime_ns


@dataclass(frozen=True)
class Kept:
    """What the last job made of a checkpoint, for the next one that asks for the same."""

    key: object
    mixtures: tuple[tuple[float, Mixture], ...]
    """The share of the steps from which on it counts, and the mixture; the first begins at 0."""
    noted: tuple[Sentence, ...]
    """For the receipt: what was applied whole."""
    told: tuple[Sentence, ...]
    """For the person at once: what was not."""

    def at(self, share: float) -> Mixture:
        return [mixture for begin, mixture in self.mixtures if begin <= share][-1]


class Engine(EngineHooks[None]):
    """Weights in `patch`, other ones in `before_step` where a LoRA begins or ends, hashes in `before_save`."""

    def __init__(self, options: None, context: EngineContext) -> None:
        super().__init__(options, context)
        self._used: dict[str, Path] = {}
        """Of all pictures of the job."""
        self._kept: Kept | None = None
        self._inside: Swapped | None = None
        self._mixture: Mixture | None = None

    @contextmanager
    def patch(self, components: Components, tags: tuple[Tag, ...]) -> Iterator[None]:
        asked, problems = wanted(tags)
        for problem in problems:
            self.context.warn(problem)
        chosen = tuple(self._found(asked))
        if not chosen:
            yield
            return
        self._used |= {each.wanted.name: each.path for each in chosen}
        kept = self._again_or_made(components, chosen)
        for noted in kept.noted:
            self.context.note(noted)
        for told in kept.told:
            self.context.warn(told)
        first = kept.at(0.0)
        with swapped(first) as inside:
            self._kept, self._inside, self._mixture = kept, inside, first
            try:
                yield
            finally:
                self._kept = self._inside = self._mixture = None

    def before_step(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        if self._kept is not None and self._inside is not None:
            mixture = self._kept.at((step.index - 1) / step.total)
            if mixture is not self._mixture:
                self._inside.put(mixture)
                self._mixture = mixture
        return x

    def before_save(self, image: object, picture: int) -> Mapping[str, str]:
        """ "Lora hashes", as AUTOMATIC1111 writes them: name and 12 digits, by which other programs find the file."""
        asked = {each.name for each in wanted(self.tags)[0]}
        hashes = [f"{name}: {self._hash(path)}" for name, path in self._used.items() if name in asked]
        return {"Lora hashes": ", ".join(hashes)} if hashes else {}

    def _found(self, asked: Sequence[Wanted]) -> Iterator[Chosen]:
        """Those whose file is there; the others are told of."""
        shelf = Shelf(self.context.models("loras"))
        for each in asked:
            found = shelf.find(each.name)
            if found is None:
                self.context.warn(_unknown(each.name, shelf.near(each.name)))
                continue
            if len(found.paths) > 1:
                self.context.warn(_ambiguous(found))
            yield Chosen(each, found.path)

    def _again_or_made(self, components: Components, chosen: Sequence[Chosen]) -> Kept:
        """What was made for the job before, when it is the same; else it is made now, in the old one's memory."""
        by_unet: WeakKeyDictionary[nn.Module, Kept] = self.context.cache.setdefault("mixtures", WeakKeyDictionary())
        key = tuple(each.key for each in chosen)
        kept = by_unet.get(components.unet)
        if kept is not None and kept.key == key and all(mixture.is_current() for _, mixture in kept.mixtures):
            return kept
        spare = [mixture.tensors() for _, mixture in kept.mixtures] if kept is not None else []
        by_unet.pop(components.unet, None)
        by_unet[components.unet] = made = self._made(components, chosen, key, spare)
        return made

    def _made(self, components: Components, chosen: Sequence[Chosen], key: object, spare: Sequence[Spare]) -> Kept:
        networks = Networks(components.unet, components.unet.config.layers_per_block, components.text_encoders)
        known = networks.places()
        files: dict[Path, LoraFile | CheckpointError] = {}
        parts: list[tuple[Wanted, Part]] = []
        noted: list[Sentence] = []
        told: list[Sentence] = []
        for each in chosen:
            if each.path not in files:
                files[each.path] = self._read(each.path)
            part, sentence = _part(each, files[each.path], networks, known)
            (noted if part and part.is_whole else told).append(sentence)
            parts.extend([(each.wanted, part)] if part else [])
        begins = sorted({0.0, *(share for each, _ in parts for share in (each.start, each.end) if 0 < share < 1)})
        mixtures = [
            (begin, mix((part_at(*each, begin) for each in parts), networks, room))
            for begin, room in zip(begins, [*spare[: len(begins)], *[{}] * (len(begins) - len(spare))], strict=True)
        ]
        return Kept(key, tuple(mixtures), tuple(noted), tuple(told))

    def _read(self, path: Path) -> LoraFile | CheckpointError:
        try:
            return sorted_by_layer(path, self.context.read_weights(path))
        except CheckpointError as error:
            return error

    def _hash(self, path: Path) -> str:
        stat = path.stat()
        key = f"hash of {path}, {stat.st_size}, {stat.st_mtime_ns}"
        if key not in self.context.cache:
            self.context.cache[key] = file_hash(path)
        found: str = self.context.cache[key]
        return found


def part_at(asked: Wanted, part: Part, share: float) -> Part:
    """The LoRA as it is when `share` of the steps is done."""
    return part if asked.is_on(share) else replace(part, unet=0.0)


def _part(
    chosen: Chosen, file: LoraFile | CheckpointError, networks: Networks, known: Mapping[str, Place]
) -> tuple[Part | None, Sentence]:
    """The LoRA on these networks and how it went; None when it cannot be used."""
    name = chosen.wanted.name[:80]
    if isinstance(file, CheckpointError):
        return None, Sentence("LoRA “{name}” was left out: {problem}", name=name, problem=file.sentence)
    width = int(networks.unet.config.cross_attention_dim or 0)  # type: ignore[union-attr,arg-type]
    if file.context and file.context != width:
        return None, _misfit(name, file.context, width)
    fitted = fit(file, networks, known)
    if not fitted.layers:
        return None, Sentence(
            "LoRA “{name}” was left out: none of its {of} layers is in this checkpoint.", name=name, of=fitted.of
        )
    strengths = chosen.wanted
    part = Part(fitted.changes, te=strengths.te, unet=strengths.unet, rank=strengths.rank, is_whole=fitted.is_whole)
    told = Sentence("LoRA “{name}”: applied {layers}/{of} layers.", name=name, layers=fitted.layers, of=fitted.of)
    return part, told


def _misfit(name: str, made_for: int, width: int) -> Sentence:
    return Sentence(
        "LoRA “{name}” was left out: it was made for {family}, and this checkpoint is {other}.",
        name=name,
        family=_family(made_for),
        other=_family(width),
    )


def _family(width: int) -> Sentence | str:
    return FAMILIES.get(width) or Sentence("a model that reads texts {width} wide", width=width)


def _unknown(name: str, near: Sequence[str]) -> Sentence:
    if not near:
        return Sentence("LoRA “{name}” was left out: there is no such file in models/loras.", name=name[:80])
    return Sentence(
        "LoRA “{name}” was left out: there is no such file in models/loras. Did you mean {near}?",
        name=name[:80],
        near=", ".join(f"“{each}”" for each in near),
    )


def _ambiguous(found: Found) -> Sentence:
    return Sentence(
        "There are {count} LoRAs called “{name}”; {path} was taken. Write its folder before the name to choose.",
        count=len(found.paths),
        name=found.name[:80],
        path="/".join(found.path.parts[-3:]),
    )


def file_hash(path: Path) -> str:
    """12 digits of the SHA-256 of the tensors as kohya's scripts count it, without the header, or of any other file."""
    if known := header(path).get("sshs_model_hash"):
        return known[:12]
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if path.suffix in SAFETENSORS:
            file.seek(8 + int.from_bytes(file.read(8), "little"))
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:12]
