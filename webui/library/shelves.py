"""Everything beside the checkpoints, described from headers: LoRAs, embeddings, VAEs, ControlNets, upscalers.

What trainers and other tools write into metadata or beside a file is read within limits and only where a person sees
it: titles and the words that call a LoRA up.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from webui.errors import CheckpointError
from webui.library.families import FAMILIES, Nature, examine
from webui.library.files import check_kind
from webui.library.headers import IT, check_safetensors, read_header, read_json, read_neighbour
from webui.library.passport import Told
from webui.library.pickles import read_contents
from webui.library.scan import SAFETENSORS
from webui.sentences import Sentence

MOST_WORDS = 30
LONGEST_WORD = 200
LONGEST_TITLE = 200
LONGEST_VALUE = 2000
MOST_VALUES = 200

FAMILIES_TOLD = (
    ("stable-diffusion-xl-v1-refiner", "sdxl-refiner"), ("stable-diffusion-xl", "sdxl"), ("sdxl", "sdxl"),
    ("stable-diffusion-v2", "sd2"), ("sd_v2", "sd2"), ("stable-diffusion-v1", "sd1"), ("sd_v1", "sd1"),
)  # fmt: skip
"""Beginning of modelspec.architecture or ss_base_model_version -> family."""
NEWER_LORA = (
    "flux",
    "stable-diffusion-3",
    "stable-diffusion-v3",
    "sd3",
    "hunyuan",
    "wan",
    "lumina",
    "qwen",
    "auraflow",
)


def describe_item(path: Path, shelf: str, layout: str) -> Told:
    """The card's fields. Raises `CheckpointError`, OSError, or what a wrong configuration leads to."""
    if layout == "folder":
        return _describe_folder(path, shelf)
    header = read_header(path) if path.suffix in SAFETENSORS else None
    contents = None if header else read_contents(path)
    shapes = header.shapes if header else contents.shapes if contents else {}
    nature = examine(shapes)
    check_kind(nature, shelf, len(shapes))
    metadata = header.metadata if header else {}
    told = _told_beside(path)
    family = nature.family or _family_told(metadata)
    title = metadata.get("modelspec.title", "") or (contents.title if contents else "")
    return {
        "kind": nature.kind,
        "family": family,
        "title": title[:LONGEST_TITLE],
        "alias": metadata.get("ss_output_name", "")[:LONGEST_TITLE],
        "words": list(_words(metadata, told)) if shelf == "loras" else [],
        "problem": _other_family(nature, metadata),
    }


def vectors_of(path: Path) -> int:
    """How many words an embedding is long, by its header; 0 for what is none or unreadable."""
    try:
        shapes = read_header(path).shapes if path.suffix in SAFETENSORS else read_contents(path).shapes
    except (CheckpointError, OSError, ValueError, RuntimeError, ArithmeticError):
        return 0
    lengths = [shape[0] if len(shape) == 2 else 1 for shape in shapes.values() if len(shape) in (1, 2)]
    return min(lengths, default=0)


def metadata_of(path: Path) -> Mapping[str, str]:
    """What the maker of a .safetensors file wrote into it, each value cut short; nothing when it cannot be read."""
    try:
        header = read_header(path)
    except (CheckpointError, OSError):
        return {}
    return {key[:LONGEST_WORD]: value[:LONGEST_VALUE] for key, value in islice(header.metadata.items(), MOST_VALUES)}


def _describe_folder(path: Path, shelf: str) -> Told:
    config = read_json(path / "config.json")
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise CheckpointError("{part}/ holds no .safetensors file. Copy the folder again, completely.", part=path.name)
    for file in files:
        check_safetensors(file)
    card = read_json(path / "easel.json") if (path / "easel.json").is_file() else {}
    kind = "vae" if shelf == "vae" else "controlnet"
    return {
        "kind": "t2i-adapter" if "Adapter" in str(config.get("_class_name", "")) else kind,
        "family": FAMILIES.get(config.get("cross_attention_dim", 0), ""),
        "title": str(card.get("title", ""))[:LONGEST_TITLE],
        "alias": "",
        "words": [],
        "problem": None,
    }


def _family_told(metadata: Mapping[str, str]) -> str:
    told = (metadata.get("modelspec.architecture", ""), metadata.get("ss_base_model_version", ""))
    found = (family for text in told for start, family in FAMILIES_TOLD if text.lower().startswith(start))
    return next(found, "")


def _other_family(nature: Nature, metadata: Mapping[str, str]) -> Sentence | None:
    """What a LoRA of a family that Easel does not draw with is told by."""
    told = metadata.get("modelspec.architecture", "") or metadata.get("ss_base_model_version", "")
    if nature.family or not told.lower().startswith(NEWER_LORA):
        return None
    return Sentence("{name} is made for {family}, which Easel does not draw with.", name=IT, family=told[:40])


def _told_beside(path: Path) -> Mapping[str, Any]:
    """What A1111 and Civitai's helpers wrote beside a file."""
    return {**read_neighbour(path.with_suffix(".civitai.info")), **read_neighbour(path.with_suffix(".json"))}


def _words(metadata: Mapping[str, str], told: Mapping[str, Any]) -> Iterator[str]:
    """Words that call a LoRA up, each once."""
    seen: dict[str, None] = {}
    for word in (*_named_words(metadata, told), *_frequent_tags(metadata.get("ss_tag_frequency", ""))):
        if word and len(word) <= LONGEST_WORD:
            seen.setdefault(word)
    yield from islice(seen, MOST_WORDS)


def _named_words(metadata: Mapping[str, str], told: Mapping[str, Any]) -> Iterator[str]:
    trained = told.get("trainedWords")
    texts = [told.get("activation text", ""), metadata.get("modelspec.trigger_phrase", "")]
    texts += trained if isinstance(trained, list) else []
    for text in texts[:MOST_WORDS]:
        if isinstance(text, str):
            yield from (word.strip() for word in text.split(","))


def _frequent_tags(text: str) -> list[str]:
    """The tags of kohya's training captions, most frequent first: {"dataset": {"tag": count}}."""
    try:
        datasets = json.loads(text) if text else {}
        counts: dict[str, int] = {}
        for tags in datasets.values():
            for tag, count in tags.items():
                counts[tag.strip()] = counts.get(tag.strip(), 0) + int(count)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return []
    return sorted(counts, key=lambda tag: -counts[tag])[:MOST_WORDS]
