"""What is said about a scene, in English and Korean, and which further words the text encoder learns.

Plain data and grammar, no pictures and no torch. A caption is made from a `Scene`; held-out pairs and names are decided
here by checksum, so that training, measuring and every later run agree on them.
"""

import random
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

STYLES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "fluent3d": (("a 3d render of {}", "{}, 3d", "{}, 3d render"), "{} 3D"),
    "fluentflat": (("a flat icon of {}", "{}, flat", "{}, flat icon"), "{} 납작한 아이콘"),
    "line": (("a line drawing of {}", "{}, line", "{}, line drawing"), "{} 선 그림"),
    "twemoji": (("a sticker of {}", "{}, sticker", "{} sticker"), "{} 스티커"),
    "noto": (("a cartoon of {}", "{}, cartoon", "{} cartoon"), "{} 만화"),
}
"""Picture style -> the ways to say it in English, and in Korean."""
DEFAULT_STYLE = "fluent3d"
"""What is drawn when no style is named."""

COLOURS: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    "red": ("빨간", (214, 40, 45)),
    "orange": ("주황색", (245, 130, 32)),
    "yellow": ("노란", (250, 205, 45)),
    "green": ("초록색", (60, 165, 70)),
    "blue": ("파란", (45, 105, 215)),
    "purple": ("보라색", (130, 70, 190)),
    "pink": ("분홍색", (245, 130, 185)),
    "brown": ("갈색", (130, 85, 50)),
    "black": ("검은", (40, 40, 44)),
    "grey": ("회색", (140, 143, 148)),
    "white": ("하얀", (240, 240, 242)),
}
"""Colour -> Korean attributive form and sRGB."""

PLACES: Mapping[str, tuple[str, str]] = {
    "grass": ("on the grass", "풀밭 위의 {}"),
    "beach": ("on the beach", "해변의 {}"),
    "night": ("under a starry night sky", "별이 빛나는 밤하늘의 {}"),
    "sea": ("in the sea", "바다의 {}"),
    "snow": ("in the snow", "눈밭의 {}"),
    "room": ("in a room", "방 안의 {}"),
    "city": ("in a city", "도시의 {}"),
    "forest": ("in a forest", "숲속의 {}"),
    "desert": ("in the desert", "사막의 {}"),
    "mountains": ("in front of mountains", "산 앞의 {}"),
    "sunset": ("at sunset", "노을 속의 {}"),
    "sky": ("in the sky", "하늘의 {}"),
}
"""Painted background -> English and Korean phrase."""

FACES: Mapping[str, tuple[str, str]] = {
    "happy": ("with a smiling face", "웃는 얼굴의 {}"),
    "sad": ("with a sad face", "슬픈 얼굴의 {}"),
    "plain": ("with a face", "얼굴이 있는 {}"),
}
"""Face that is drawn on a thing -> English and Korean phrase."""


class Arrangement(StrEnum):
    """Where the first thing of two is, seen from the second."""

    LEFT = "to the left of"
    RIGHT = "to the right of"
    ABOVE = "above"
    BELOW = "below"
    FRONT = "in front of"


KOREAN_ARRANGEMENTS: Mapping[Arrangement, str] = {
    Arrangement.LEFT: "{second} 왼쪽의 {first}",
    Arrangement.RIGHT: "{second} 오른쪽의 {first}",
    Arrangement.ABOVE: "{second} 위의 {first}",
    Arrangement.BELOW: "{second} 아래의 {first}",
    Arrangement.FRONT: "{second} 앞의 {first}",
}


@dataclass(frozen=True)
class Concept:
    """One nameable thing: its words in two languages. Several pictures, one per style, show it."""

    hexcode: str
    label: str
    names: tuple[str, ...]
    """Other words that may stand for it: "puppy" for "dog face"."""
    hints: tuple[str, ...]
    """Words that only go along with the label: "animal"."""
    korean: tuple[str, ...]
    """The Korean label first, then its own noun alone: "빨간 사과", "사과"."""
    subgroup: str

    @property
    def has_face(self) -> bool:
        return self.subgroup.startswith(("face", "cat-face", "monkey-face", "animal", "person")) or "face" in self.label


@dataclass(frozen=True)
class Thing:
    """One thing in a scene."""

    concept: Concept
    colour: str | None = None
    face: str | None = None


@dataclass(frozen=True)
class Scene:
    """Everything a caption can tell of a picture."""

    style: str
    things: tuple[Thing, ...]
    """One thing; two things, arranged; or `count` times the same."""
    count: int = 1
    arrangement: Arrangement | None = None
    place: str | None = None
    """A key of `PLACES`, or None for a plain background."""
    background: str | None = None
    """A key of `COLOURS` for a plain coloured background; None with no place: white."""


def caption(scene: Scene, rng: random.Random) -> str:
    """One English sentence or phrase that is true of the scene; what it leaves out varies."""
    names = [_thing(thing, rng) for thing in scene.things]
    if scene.count > 1:
        text = f"{('two', 'three')[scene.count - 2]} {plural(_with_colour(scene.things[0], rng))}"
    elif scene.arrangement is not None:
        text = f"{_article(names[0])} {scene.arrangement} {_article(names[1])}"
        if rng.random() < 0.25:
            text = f"{_article(names[0])} and {_article(names[1])}"
    else:
        text = _article(names[0]) if rng.random() < 0.6 else names[0]
        hints = scene.things[0].concept.hints
        if hints and rng.random() < 0.1:
            text = f"{text}, {rng.choice(hints)}"
    if scene.place is not None:
        text = f"{text} {PLACES[scene.place][0]}"
    elif scene.background is not None and rng.random() < 0.8:
        text = f"{text} on a {scene.background} background"
    elif scene.background is None and rng.random() < 0.15:
        text = f"{text} on a white background"
    says_style = 0.3 if scene.style == DEFAULT_STYLE else 0.95
    return rng.choice(STYLES[scene.style][0]).format(text) if rng.random() < says_style else text


def korean_caption(scene: Scene, rng: random.Random) -> str:
    """The same in Korean; colours, places and arrangements come before the noun."""
    names = [_korean_thing(thing, rng) for thing in scene.things]
    if scene.count > 1:
        text = f"{names[0]} {('두', '세')[scene.count - 2]} 개"
    elif scene.arrangement is not None:
        text = KOREAN_ARRANGEMENTS[scene.arrangement].format(first=names[0], second=names[1])
    else:
        text = names[0]
    if scene.place is not None:
        text = PLACES[scene.place][1].format(text)
    elif scene.background is not None and rng.random() < 0.8:
        text = f"{COLOURS[scene.background][0]} 배경의 {text}"
    says_style = 0.3 if scene.style == DEFAULT_STYLE else 0.95
    return STYLES[scene.style][1].format(text) if rng.random() < says_style else text


def _thing(thing: Thing, rng: random.Random) -> str:
    name = _with_colour(thing, rng)
    return f"{name} {FACES[thing.face][0]}" if thing.face else name


def _with_colour(thing: Thing, rng: random.Random) -> str:
    concept = thing.concept
    name = concept.label
    names = [name for name in concept.names if name != held_out_name(concept)]
    if names and rng.random() < 0.25:
        name = rng.choice(names)
    if not thing.colour:
        return name
    for colour in COLOURS:  # "a blue red apple" helps nobody
        name = re.sub(rf"\b{colour}\b ?", "", name)
    return f"{thing.colour} {name.strip() or concept.label}"


def _korean_thing(thing: Thing, rng: random.Random) -> str:
    words = thing.concept.korean
    name = words[0] if rng.random() < 0.7 else rng.choice(words)
    if thing.colour:
        name = f"{COLOURS[thing.colour][0]} {name}"
    return FACES[thing.face][1].format(name) if thing.face else name


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """The regular English plural of the last word."""
    if re.search(r"(s|x|z|ch|sh)$", name):
        return f"{name}es"
    if re.search(r"[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}s"


def is_held_out_pair(concept: Concept, what: str) -> bool:
    """Whether a concept never appears together with this style or place in training: one pair in ten.

    The default style is never held out, since everything must be drawable without naming a style.
    """
    return what != DEFAULT_STYLE and zlib.crc32(f"{concept.hexcode} {what}".encode()) % 10 == 0


def is_held_out_concept(concept: Concept) -> bool:
    """Whether first stage and classifier are measured on this concept and never trained on it: one in twenty."""
    return zlib.crc32(concept.hexcode.encode()) % 20 == 0


def held_out_name(concept: Concept) -> str | None:
    """The one name that no caption uses, for measuring synonyms; None for concepts with fewer than two."""
    return min(concept.names, key=lambda name: zlib.crc32(name.encode())) if len(concept.names) > 1 else None


def split_tags(
    label: str, tags: Sequence[str], spread: Mapping[str, int], nouns: Collection[str]
) -> tuple[list[str], list[str]]:
    """Tags that may stand for the thing alone, and the others.

    A name is a noun for something one can touch and belongs to at most four things (`spread` counts them).
    """
    names = [tag for tag in tags if tag in nouns and spread[tag] <= 4 and tag != label]
    return names, [tag for tag in tags if tag not in names and tag not in label.split()]


def wordnet_nouns(dictionary: str) -> list[str]:
    """Concrete nouns of WordNet 3.0 (Princeton), one or two words each, in file order.

    `dictionary` is the text of its `data.noun`; the second field, the lexicographer file number, says what kind of noun
    it is.
    """
    concrete = {"05", "06", "08", "13", "15", "17", "18", "19", "20", "27"}
    words: dict[str, None] = {}
    for line in dictionary.splitlines():
        if line.startswith("  "):
            continue
        fields = line.split(" | ")[0].split()
        if fields[1] in concrete:
            for lemma in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
                if re.fullmatch(r"[a-z]{3,14}(_[a-z]{3,12})?", lemma):
                    words.setdefault(lemma.replace("_", " "))
    return list(words)
