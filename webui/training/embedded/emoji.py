"""The emoji pictures and their words: from npm packages to arrays of RGBA and `Concept`s.

Sources (licences in models/checkpoints/*/LICENSES.md): Microsoft Fluent Emoji 3D and flat (MIT), Google Noto Emoji
(Apache-2.0), Twemoji (CC-BY-4.0), words from emojibase (MIT, Unicode). The packages are read as `npm pack` leaves
them, a .tgz each; nothing is fetched here. Sets under share-alike licences are for the judge of the evaluation only
and never reach weights that ship.
"""

import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from webui.errors import MissingTrainingData, UnknownName
from webui.training.embedded.words import Concept, split_tags, wordnet_nouns

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

PACKAGES: Mapping[str, str] = {
    "fluent3d": "lobehub-fluent-emoji-3d-1.1.0.tgz",
    "fluentflat": "iconify-json-fluent-emoji-flat-1.2.6.tgz",
    "noto": "iconify-json-noto-1.2.9.tgz",
    "twemoji": "iconify-json-twemoji-1.2.5.tgz",
    "openmoji": "iconify-json-openmoji-1.2.29.tgz",
    "emojione": "iconify-json-emojione-1.2.3.tgz",
    "noto-v1": "iconify-json-noto-v1-1.2.5.tgz",
    "emojione-v1": "iconify-json-emojione-v1-1.2.3.tgz",
    "fxemoji": "iconify-json-fxemoji-1.2.2.tgz",
    "streamline": "iconify-json-streamline-emojis-1.2.4.tgz",
}
LINE_SOURCE = "fluentflat"
"""Line drawings (style "line") are made from this set by a filter; "line:noto" names another source."""
EMOJIBASE = "emojibase-data-17.0.0.tgz"
WORDNET = "wordnet-base_1%3a3.0-37_all.deb"
UNDRAWN_GROUPS = ("component", "flags")


@dataclass(frozen=True)
class Emoji:
    """One picture of a concept in one art style."""

    concept: Concept
    style: str
    pixels: Pixels
    """(size, size, 4), straight alpha."""


def load_emoji(folder: Path, styles: Collection[str], subgroups: Collection[str], size: int) -> list[Emoji]:
    """Render the chosen pictures, in a fixed order. Raises `MissingTrainingData` naming what is absent."""
    chosen = [concept for concept in load_concepts(folder) if concept.subgroup in subgroups]
    if unknown := set(subgroups) - {concept.subgroup for concept in chosen}:
        raise MissingTrainingData("There are no emoji of the subgroups {names}.", names=", ".join(sorted(unknown)))
    return [
        Emoji(concept, style, _square(draw(), size))
        for style in styles
        for concept, draw in _drawn(folder, style, chosen).items()
    ]


def _drawn(folder: Path, style: str, concepts: Iterable[Concept]) -> dict[Concept, Callable[[], Image.Image]]:
    """How the style draws each of the concepts that it has; no style may quietly have none of them."""
    renderers = _renderers(folder, style)
    found = {concept: renderers[concept.hexcode] for concept in concepts if concept.hexcode in renderers}
    if not found:
        raise MissingTrainingData("The style '{style}' has none of the pictures that the recipe asks for.", style=style)
    return found


def load_concepts(folder: Path) -> list[Concept]:
    """Every drawn emoji of emojibase (no flags, no skin tones) with its English and Korean words."""
    files = _read_tar(folder / EMOJIBASE)
    english, korean = (json.loads(files(f"package/{language}/data.json")) for language in ("en", "ko"))
    messages = json.loads(files("package/en/messages.json"))
    group_keys = {group["order"]: group["key"] for group in messages["groups"]}
    subgroup_keys = {group["order"]: group["key"] for group in messages["subgroups"]}
    translations = {entry["hexcode"]: entry for entry in korean}
    drawn = [
        entry
        for entry in english
        if entry.get("subgroup") is not None and group_keys.get(entry.get("group")) not in UNDRAWN_GROUPS
    ]
    spread = Counter(tag for entry in drawn for tag in entry.get("tags", ()))
    korean_spread = Counter(tag for entry in korean for tag in entry.get("tags", ()))
    nouns = set(read_nouns(folder))
    concepts = []
    for entry in drawn:
        names, hints = split_tags(entry["label"], entry.get("tags", ()), spread, nouns)
        korean_words = _korean_words(translations.get(entry["hexcode"], {}), korean_spread)
        subgroup = subgroup_keys[entry["subgroup"]]
        concepts.append(
            Concept(_plain(entry["hexcode"]), entry["label"], tuple(names), tuple(hints), korean_words, subgroup)
        )
    return concepts


def _korean_words(entry: Mapping[str, Any], spread: Mapping[str, int]) -> tuple[str, ...]:
    """The label, then its own noun alone: "빨간 사과" is also "사과", "강아지 얼굴" is also "강아지"."""
    if not entry:
        return ()
    label = str(entry["label"])
    noun = label.removesuffix(" 얼굴")
    own = [tag for tag in entry.get("tags", ()) if tag == label.split()[-1] and spread[tag] <= 4]
    return tuple(dict.fromkeys((label, noun, *own)))


def _renderers(folder: Path, style: str) -> dict[str, Callable[[], Image.Image]]:
    drawing, _, source = style.partition(":")
    if drawing == "line":
        return {
            hexcode: partial(_line_drawing_of, draw)
            for hexcode, draw in _renderers(folder, source or LINE_SOURCE).items()
        }
    if style not in PACKAGES:
        raise UnknownName("picture style", style, [*PACKAGES, "line"])
    path = folder / PACKAGES[style]
    return _webp_renderers(path) if style == "fluent3d" else _svg_renderers(path)


def _line_drawing_of(draw: Callable[[], Image.Image]) -> Image.Image:
    return line_drawing(draw())


def line_drawing(image: Image.Image) -> Image.Image:
    """Dark lines where colour or outline changes, white paper inside the shape, nothing outside."""
    rgba = np.asarray(image).astype(np.float32) / 255
    alpha = rgba[..., 3:]
    flat = np.concatenate([rgba[..., :3] * alpha + (1 - alpha), alpha], axis=-1)
    across, down = np.zeros_like(flat), np.zeros_like(flat)
    across[:, 1:-1] = flat[:, 2:] - flat[:, :-2]
    down[1:-1] = flat[2:] - flat[:-2]
    strength = np.sqrt(across**2 + down**2).max(-1)
    ink = Image.fromarray((np.clip(strength * 2.2 - 0.1, 0, 1) * 255).astype(np.uint8))
    ink = ink.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(0.7))
    dark = np.asarray(ink).astype(np.float32)[..., None] / 255
    colour = (1 - dark) + dark * np.array([0.13, 0.13, 0.18], np.float32)
    return Image.fromarray((np.concatenate([colour, np.maximum(alpha, dark)], -1) * 255).round().astype(np.uint8))


def _webp_renderers(path: Path) -> dict[str, Callable[[], Image.Image]]:
    files = _read_tar(path)
    names = [name for name in files.names if name.endswith(".webp")]
    return {_plain(Path(name).stem): partial(_open, files, name) for name in names}


def _svg_renderers(path: Path) -> dict[str, Callable[[], Image.Image]]:
    files = _read_tar(path)
    icons = json.loads(files("package/icons.json"))
    listed = json.loads(files("package/chars.json")) if "package/chars.json" in files.names else {}
    characters = listed or _codes_by_label(path.parent, icons["icons"])
    found: dict[str, Callable[[], Image.Image]] = {}
    for hexcode, name in characters.items():
        icon = icons["icons"].get(name) or icons["icons"].get(icons.get("aliases", {}).get(name, {}).get("parent"))
        if icon:
            width = icon.get("width", icons.get("width", 16))
            height = icon.get("height", icons.get("height", 16))
            found[_plain(hexcode)] = partial(_draw_svg, icon["body"], width, height)
    return found


def _codes_by_label(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Code points of icons that are called by Unicode's labels only: "red-apple", "redapple", "red-apple-1"."""
    codes = {_letters(concept.label): concept.hexcode for concept in load_concepts(folder)}
    found: dict[str, str] = {}
    for name in names:
        code = codes.get(_letters(name)) or codes.get(_letters(re.sub(r"-\d+$", "", name)))
        if code is not None:
            found.setdefault(code, name)
    return found


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _open(files: "_TarFiles", name: str) -> Image.Image:
    return Image.open(io.BytesIO(files(name))).convert("RGBA")


def _draw_svg(body: str, width: int, height: int) -> Image.Image:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">{body}</svg>'
    )
    import resvg_py  # needed by this style of pictures only

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=256, skip_system_fonts=True))
    return Image.open(io.BytesIO(png)).convert("RGBA")


def _square(image: Image.Image, size: int) -> Pixels:
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (size, size))
    canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(canvas)


def _plain(hexcode: str) -> str:
    """Lower case without variation selectors: how the packages agree on a code point."""
    return "-".join(part for part in hexcode.lower().split("-") if part not in ("fe0f", "fe0e"))


class _TarFiles:
    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            self._content = {
                member.name: file.read()
                for member in archive
                if member.isfile() and (file := archive.extractfile(member)) is not None
            }
        self.names = tuple(self._content)

    def __call__(self, name: str) -> bytes:
        return self._content[name]


def _read_tar(path: Path) -> _TarFiles:
    if not path.is_file():
        raise not_there(path)
    return _TarFiles(path)


def not_there(path: Path) -> MissingTrainingData:
    return MissingTrainingData(
        "{file} is not in {folder}. Start again with --fetch to download it.", file=path.name, folder=str(path.parent)
    )


def read_nouns(folder: Path) -> list[str]:
    """Concrete nouns of WordNet 3.0, from Debian's package of it."""
    package = folder / WORDNET
    if not package.is_file():
        raise not_there(package)
    return wordnet_nouns(_member_of_deb(package, "data.noun").decode("utf-8", "replace"))


def _member_of_deb(package: Path, name: str) -> bytes:
    """One file of a Debian package: an `ar` archive with data.tar.xz in it (deb(5))."""
    content = package.read_bytes()
    position = len(b"!<arch>\n")
    while position < len(content):
        header = content[position : position + 60]
        size = int(header[48:58])
        body = content[position + 60 : position + 60 + size]
        if header.startswith(b"data.tar"):
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                member = next(each for each in archive if Path(each.name).name == name)
                file = archive.extractfile(member)
                assert file is not None
                return file.read()
        position += 60 + size + size % 2
    raise MissingTrainingData(
        "{file} holds no {name}: it is not the package that was asked for.", file=package.name, name=name
    )
