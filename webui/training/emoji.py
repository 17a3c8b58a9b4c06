"""The emoji pictures and captions: from npm packages to arrays of RGBA and a caption list.

Sources (licences in models/checkpoints/*/LICENSES.md): Microsoft Fluent Emoji 3D and flat (MIT), Google Noto
Emoji (Apache-2.0), Twemoji (CC-BY-4.0), captions from emojibase (MIT, Unicode). The packages are read as
`npm pack` leaves them, a .tgz each; nothing is fetched here.
"""

import io
import json
import tarfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from webui.errors import MissingTrainingData
from webui.training.recipe import PictureSet

PACKAGES = {
    "fluent3d": "lobehub-fluent-emoji-3d-1.1.0.tgz",
    "fluentflat": "iconify-json-fluent-emoji-flat-1.2.6.tgz",
    "noto": "iconify-json-noto-1.2.9.tgz",
    "twemoji": "iconify-json-twemoji-1.2.5.tgz",
}
EMOJIBASE = "emojibase-data-17.0.0.tgz"
UNDRAWN_GROUPS = ("component", "flags")


@dataclass(frozen=True)
class Emoji:
    """One picture: its art style, its code point and the words for it."""

    style: str
    hexcode: str
    label: str
    tags: tuple[str, ...]
    subgroup: str
    korean: tuple[str, ...]
    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    """(size, size, 4), straight alpha."""


def captions(emoji: Emoji) -> list[str]:
    """Every text under which this picture is shown to the text encoder."""
    label = emoji.label
    article = "an" if label[0] in "aeiou" else "a"
    texts = [label, f"{article} {label}", f"{article} {label} on a white background"]
    texts += [tag for tag in emoji.tags if tag in label.split() or label in tag.split()][:2]
    if emoji.tags:
        texts.append(f"{label}, {', '.join(emoji.tags[:2])}")
    if emoji.subgroup == "face-smiling":
        texts += [f"a yellow {label}", "a yellow smiling face"]
    return texts + list(emoji.korean[:1])


def load_emoji(folder: Path, chosen: PictureSet) -> list[Emoji]:
    """Render the chosen pictures, in a fixed order. Raises `MissingTrainingData` naming what is absent."""
    entries = list(_emojibase_entries(folder, chosen.subgroups))
    return [
        Emoji(style=style, pixels=_square(renderers[entry["hexcode"]](), chosen.size), **entry)
        for style in chosen.styles
        for renderers in [_renderers(folder, style)]
        for entry in entries
        if entry["hexcode"] in renderers
    ]


def _emojibase_entries(folder: Path, subgroups: Collection[str]) -> Iterator[dict[str, Any]]:
    files = _read_tar(folder / EMOJIBASE)
    english, korean = (json.loads(files(f"package/{language}/data.json")) for language in ("en", "ko"))
    messages = json.loads(files("package/en/messages.json"))
    group_keys = {group["order"]: group["key"] for group in messages["groups"]}
    subgroup_keys = {group["order"]: group["key"] for group in messages["subgroups"]}
    if unknown := set(subgroups) - set(subgroup_keys.values()):
        raise MissingTrainingData(f"Unknown emoji subgroups: {', '.join(sorted(unknown))}.")
    korean_labels = {entry["hexcode"]: entry["label"] for entry in korean}
    for entry in english:
        subgroup = subgroup_keys.get(entry.get("subgroup"), "")
        if subgroup not in subgroups or group_keys.get(entry.get("group")) in UNDRAWN_GROUPS:
            continue
        translation = korean_labels.get(entry["hexcode"])
        yield {
            "hexcode": _plain(entry["hexcode"]),
            "label": entry["label"],
            "tags": tuple(entry.get("tags", ())),
            "subgroup": subgroup,
            "korean": (translation,) if translation else (),
        }


def all_texts(folder: Path) -> list[tuple[str, str | None]]:
    """Every English text of emojibase, and for each Korean label the English text it translates.

    Pairs (text, English original or None): the text encoder is distilled on more words than are drawn.
    """
    files = _read_tar(folder / EMOJIBASE)
    english, korean = (json.loads(files(f"package/{language}/data.json")) for language in ("en", "ko"))
    labels = {entry["hexcode"]: entry["label"] for entry in english}
    texts: dict[str, str | None] = {}
    for entry in english:
        for text in (entry["label"], f"a {entry['label']}", *entry.get("tags", ())):
            texts.setdefault(text, None)
    for entry in korean:
        texts.setdefault(entry["label"], labels.get(entry["hexcode"]))
    return list(texts.items())


def _renderers(folder: Path, style: str) -> dict[str, Callable[[], Image.Image]]:
    if style not in PACKAGES:
        raise MissingTrainingData(f"Unknown picture style '{style}'. Known: {', '.join(PACKAGES)}.")
    path = folder / PACKAGES[style]
    return _webp_renderers(path) if style == "fluent3d" else _svg_renderers(path)


def _webp_renderers(path: Path) -> dict[str, Callable[[], Image.Image]]:
    files = _read_tar(path)
    names = [name for name in files.names if name.endswith(".webp")]
    return {
        _plain(Path(name).stem): lambda name=name: Image.open(io.BytesIO(files(name))).convert("RGBA")  # type: ignore[misc]
        for name in names
    }


def _svg_renderers(path: Path) -> dict[str, Callable[[], Image.Image]]:
    files = _read_tar(path)
    icons, characters = (json.loads(files(f"package/{name}.json")) for name in ("icons", "chars"))
    found: dict[str, Callable[[], Image.Image]] = {}
    for hexcode, name in characters.items():
        icon = icons["icons"].get(name) or icons["icons"].get(icons.get("aliases", {}).get(name, {}).get("parent"))
        if icon:
            width = icon.get("width", icons.get("width", 16))
            height = icon.get("height", icons.get("height", 16))
            found[_plain(hexcode)] = lambda body=icon["body"], w=width, h=height: _draw_svg(body, w, h)  # type: ignore[misc]
    return found


def _draw_svg(body: str, width: int, height: int) -> Image.Image:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">{body}</svg>'
    )
    import resvg_py  # needed by this style of pictures only

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=256, skip_system_fonts=True))
    return Image.open(io.BytesIO(png)).convert("RGBA")


def _square(image: Image.Image, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
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
        raise MissingTrainingData(f"{path.name} is not in {path.parent}. Get it there with 'npm pack' and start again.")
    return _TarFiles(path)
