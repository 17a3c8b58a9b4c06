"""Composed training pictures: things placed on backgrounds, with the true words and the true boxes.

Drawing lots is plain Python (`Composer.draw`), painting is batched torch on any device (`Composer.paint`). What is new
in the model's pictures comes from here: it sees things in styles, places, colours and arrangements, held-out pairs
apart.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from webui.training.embedded.backgrounds import bank
from webui.training.embedded.emoji import Emoji, Pixels
from webui.training.embedded.words import COLOURS, FACES, PLACES, Arrangement, Concept, Scene, Thing, is_held_out_pair
from webui.training.recipe import Mix

BACKGROUNDS_PER_PLACE = 24
Box = tuple[float, float, float, float]
"""left, top, right, bottom in 0..1 of the picture."""


@dataclass(frozen=True)
class Placement:
    """Where one picture goes."""

    picture: int
    """Index into the composer's pictures."""
    centre: tuple[float, float]
    """(x, y) in 0..1."""
    scale: float
    """Side of the picture over the side of the canvas."""
    mirrored: bool = False
    colour: str | None = None
    face: str | None = None

    @property
    def frame(self) -> Box:
        """The square that the picture is pasted into."""
        (x, y), half = self.centre, self.scale / 2
        return x - half, y - half, x + half, y + half


@dataclass(frozen=True)
class Composition:
    """A scene (what is true) with its placements, back to front."""

    scene: Scene
    placements: tuple[Placement, ...]
    background_index: int = 0


class Composer:
    """All pictures of a data set on a device, and how to compose them."""

    def __init__(self, pictures: Sequence[Emoji], mix: Mix, seed: int, device: torch.device | str = "cpu") -> None:
        self.pictures = pictures
        self.mix = mix
        self.size = pictures[0].pixels.shape[0]
        self.device = torch.device(device)
        stacked = np.stack([picture.pixels for picture in pictures])
        self._rgba = torch.from_numpy(stacked).permute(0, 3, 1, 2).to(self.device)
        self._extents = [_extent(picture.pixels) for picture in pictures]
        self._seed = seed
        self._banks: dict[str, torch.Tensor] = {}
        self._faces = {name: _face(name, self.size).to(self.device) for name in FACES}
        self._by_style: dict[str, list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            if not is_held_out_pair(picture.concept, picture.style):
                self._by_style[picture.style].append(index)
        self.trained = sorted(index for indices in self._by_style.values() for index in indices)
        """Pictures that may be drawn: all but the held-out (concept, style) pairs."""

    def draw(self, rng: random.Random) -> Composition:
        """Draw the lots of one picture."""
        kind = rng.choices(list(vars(self.mix)), list(vars(self.mix).values()))[0]
        index = rng.choice(self.trained)
        picture = self.pictures[index]
        match kind:
            case "place":
                return self._one(index, rng, place=self._free_place([picture.concept], rng))
            case "coloured":
                return self._one(index, rng, colour=rng.choice(list(COLOURS)))
            case "faced" if not picture.concept.has_face:
                return self._one(index, rng, face=rng.choice(list(FACES)))
            case "pair":
                return self._pair(index, rng)
            case "several":
                return self._several(index, rng)
        return self._one(index, rng, background=rng.choice(list(COLOURS)) if rng.random() < 0.3 else None)

    def compose(self, scene: Scene, index: int, rng: random.Random) -> Composition:
        """A given single-thing scene, for measuring: placed as plain pictures are."""
        thing = scene.things[0]
        return self._one(index, rng, scene.place, thing.colour, thing.face, scene.background)

    def _one(
        self,
        index: int,
        rng: random.Random,
        place: str | None = None,
        colour: str | None = None,
        face: str | None = None,
        background: str | None = None,
    ) -> Composition:
        picture = self.pictures[index]
        small = place is not None
        scale = rng.uniform(0.5, 0.8) if small else rng.choice([1.0, rng.uniform(0.7, 1.0)])
        room = (1 - scale) / 2
        centre = (0.5 + rng.uniform(-room, room), 0.5 + (rng.uniform(0, room) if small else rng.uniform(-room, room)))
        if not small and rng.random() < 0.5:
            centre = (0.5 + rng.uniform(-0.04, 0.04), 0.5 + rng.uniform(-0.04, 0.04))
        scene = Scene(picture.style, (Thing(picture.concept, colour, face),), place=place, background=background)
        placement = Placement(index, centre, scale, self._mirrors(rng), colour, face)
        return Composition(scene, (placement,), rng.randrange(BACKGROUNDS_PER_PLACE))

    def _pair(self, first: int, rng: random.Random) -> Composition:
        style = self.pictures[first].style
        second = rng.choice(self._by_style[style])
        arrangement = rng.choice(list(Arrangement))
        near, far = rng.uniform(0.25, 0.3), rng.uniform(0.7, 0.75)
        scales = [rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.5)]
        level = rng.uniform(0.45, 0.65)
        centres = {
            Arrangement.LEFT: ((near, level), (far, level)),
            Arrangement.RIGHT: ((far, level), (near, level)),
            Arrangement.ABOVE: ((0.5, near), (0.5, far)),
            Arrangement.BELOW: ((0.5, far), (0.5, near)),
            Arrangement.FRONT: ((rng.uniform(0.4, 0.6), 0.7), (0.5, 0.42)),
        }[arrangement]
        if arrangement is Arrangement.FRONT:
            scales = [rng.uniform(0.38, 0.46), rng.uniform(0.65, 0.8)]
        colours = [rng.choice(list(COLOURS)) if rng.random() < 0.15 else None for _ in range(2)]
        concepts = [self.pictures[index].concept for index in (first, second)]
        place = self._free_place(concepts, rng) if rng.random() < 0.5 else None
        scene = Scene(style, tuple(map(Thing, concepts, colours)), arrangement=arrangement, place=place)
        front, behind = (
            Placement(index, centre, scale, self._mirrors(rng), colour)
            for index, centre, scale, colour in zip((first, second), centres, scales, colours, strict=True)
        )
        return Composition(scene, (behind, front), rng.randrange(BACKGROUNDS_PER_PLACE))

    def _several(self, index: int, rng: random.Random) -> Composition:
        picture, count = self.pictures[index], rng.choice([2, 3])
        colour = rng.choice(list(COLOURS)) if rng.random() < 0.15 else None
        place = self._free_place([picture.concept], rng) if rng.random() < 0.4 else None
        scale = rng.uniform(0.4, 0.48) if count == 2 else rng.uniform(0.3, 0.34)
        scene = Scene(picture.style, (Thing(picture.concept, colour),), count=count, place=place)
        placements = tuple(
            Placement(
                index,
                ((k + 0.5) / count + rng.uniform(-0.02, 0.02), rng.uniform(0.48, 0.6)),
                scale * rng.uniform(0.92, 1.05),
                self._mirrors(rng),
                colour,
            )
            for k in range(count)
        )
        return Composition(scene, placements, rng.randrange(BACKGROUNDS_PER_PLACE))

    @staticmethod
    def _mirrors(rng: random.Random) -> bool:
        return rng.random() < 0.5

    @staticmethod
    def _free_place(concepts: Sequence[Concept], rng: random.Random) -> str:
        return rng.choice([place for place in PLACES if not any(is_held_out_pair(c, place) for c in concepts)])

    def boxes(self, composition: Composition) -> list[tuple[str, Box]]:
        """(label, box) of every thing, tight around what is drawn, clipped to the picture."""
        found = []
        for placement in composition.placements:
            left, top, right, bottom = self._extents[placement.picture]
            if placement.mirrored:
                left, right = 1 - right, 1 - left
            x, y, _, _ = placement.frame
            left, right = (_clipped(x + edge * placement.scale) for edge in (left, right))
            top, bottom = (_clipped(y + edge * placement.scale) for edge in (top, bottom))
            found.append((self.pictures[placement.picture].concept.label, (left, top, right, bottom)))
        return found

    @torch.no_grad()
    def paint(self, compositions: Sequence[Composition]) -> torch.Tensor:
        """(n, 3, size, size) in [-1, 1] on the composer's device."""
        canvas = self._backgrounds(compositions)
        for layer in range(max(len(each.placements) for each in compositions)):
            rows = [row for row, each in enumerate(compositions) if layer < len(each.placements)]
            placements = [compositions[row].placements[layer] for row in rows]
            pasted = self._placed(placements)
            canvas[rows] = pasted[:, :3] + (1 - pasted[:, 3:]) * canvas[rows]
        return canvas * 2 - 1

    def _backgrounds(self, compositions: Sequence[Composition]) -> torch.Tensor:
        """(n, 3, size, size) in [0, 1]: plain colours, and painted places over them."""
        scenes = [each.scene for each in compositions]
        plain = [COLOURS[scene.background][1] if scene.background else (255, 255, 255) for scene in scenes]
        colours = torch.tensor(plain, device=self.device).float() / 255
        canvas = colours.view(-1, 3, 1, 1).repeat(1, 1, self.size, self.size)
        for place in {scene.place for scene in scenes} - {None}:
            rows = [row for row, scene in enumerate(scenes) if scene.place == place]
            chosen = self._bank(str(place))[[compositions[row].background_index for row in rows]]
            canvas[rows] = chosen.float() / 255
        return canvas

    def _bank(self, place: str) -> torch.Tensor:
        """(backgrounds, 3, size, size), uint8; painted when first asked for."""
        if place not in self._banks:
            pixels = torch.from_numpy(bank(place, self.size, BACKGROUNDS_PER_PLACE, self._seed))
            self._banks[place] = pixels.permute(0, 3, 1, 2).to(self.device)
        return self._banks[place]

    def _placed(self, placements: Sequence[Placement]) -> torch.Tensor:
        """(n, 4, size, size), premultiplied: each picture moved and scaled onto an empty canvas."""
        rgba = self._rgba[[placement.picture for placement in placements]].float() / 255
        rgba[:, :3] *= rgba[:, 3:]
        coloured = [row for row, placement in enumerate(placements) if placement.colour]
        if coloured:
            rgba[coloured] = recoloured(rgba[coloured], [placements[row].colour or "" for row in coloured])
        for row, placement in enumerate(placements):
            if placement.face:
                rgba[row] = self._with_face(rgba[row], placement)
        transform = torch.tensor([_transform(placement) for placement in placements], device=self.device)
        grid = F.affine_grid(transform, list(rgba.shape), align_corners=False)
        if min(placement.scale for placement in placements) < 0.75:  # reduce before sampling, or thin lines flicker
            small = torch.tensor([placement.scale < 0.75 for placement in placements], device=self.device)
            half = F.interpolate(F.avg_pool2d(rgba, 2), scale_factor=2, mode="bilinear", align_corners=False)
            rgba = torch.where(small.view(-1, 1, 1, 1), half, rgba)
        return F.grid_sample(rgba, grid, align_corners=False)

    def _with_face(self, rgba: torch.Tensor, placement: Placement) -> torch.Tensor:
        left, top, right, bottom = self._extents[placement.picture]
        side = min(right - left, bottom - top) * 0.62
        centre = ((left + right) / 2, (top + bottom) / 2)
        transform = torch.tensor([[1 / side, 0, (1 - 2 * centre[0]) / side], [0, 1 / side, (1 - 2 * centre[1]) / side]])
        face = self._faces[placement.face or ""][None]
        grid = F.affine_grid(transform[None].to(self.device), list(face.shape), align_corners=False)
        face = F.grid_sample(face, grid, align_corners=False)[0] * rgba[3:]
        return torch.cat([face[:3] + (1 - face[3:]) * rgba[:3], rgba[3:]])


def _clipped(edge: float) -> float:
    return min(1.0, max(0.0, edge))


def _transform(placement: Placement) -> list[list[float]]:
    """The 2x3 matrix of `affine_grid`, from canvas to picture. Faces are not mirrored: they were drawn upright."""
    zoom = 1 / placement.scale
    across = -zoom if placement.mirrored and not placement.face else zoom
    x, y = placement.centre
    return [[across, 0, across * (1 - 2 * x)], [0, zoom, zoom * (1 - 2 * y)]]


def recoloured(rgba: torch.Tensor, colours: Sequence[str]) -> torch.Tensor:
    """(n, 4, h, w) premultiplied, each in shades of one colour: dark stays dark, highlights stay bright."""
    straight = rgba[:, :3] / rgba[:, 3:].clamp(min=1e-4)
    weights = torch.tensor([0.299, 0.587, 0.114], device=rgba.device).view(3, 1, 1)
    light = (straight * weights).sum(1, keepdim=True)
    inside = light.masked_fill(rgba[:, 3:] <= 0.5, torch.nan).flatten(1)
    middle = inside.nanmedian(1).values.nan_to_num(0.5).view(-1, 1, 1, 1)  # the main surface takes the pure colour
    target = (
        torch.tensor([COLOURS[colour][1] for colour in colours], device=rgba.device).float().view(-1, 3, 1, 1) / 255
    )
    dark = target * (light / middle.clamp(min=0.05)).clamp(max=1)
    bright = target + (1 - target) * ((light - middle) / (1 - middle).clamp(min=0.05)).clamp(0, 1) * 0.8
    shaded = torch.where(light < middle, dark, bright)
    return torch.cat([(0.9 * shaded + 0.1 * straight).clamp(0, 1) * rgba[:, 3:], rgba[:, 3:]], dim=1)


def _extent(pixels: Pixels) -> Box:
    """The smallest box around what is opaque, in 0..1."""
    rows, columns = (np.flatnonzero((pixels[..., 3] > 40).any(axis)) for axis in (1, 0))
    if not len(rows):
        return 0.0, 0.0, 1.0, 1.0
    height, width = pixels.shape[:2]
    edges = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
    left, top, right, bottom = map(float, edges)
    return left, top, right, bottom


def _face(name: str, size: int) -> torch.Tensor:
    """(4, size, size), premultiplied: two eyes and a mouth."""
    side = 4 * size
    image = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(image)
    ink = (45, 30, 25, 255)
    for x in (0.3, 0.7):
        draw.ellipse([(x - 0.09) * side, 0.22 * side, (x + 0.09) * side, 0.44 * side], fill=(255, 255, 255, 255))
        draw.ellipse([(x - 0.055) * side, 0.26 * side, (x + 0.055) * side, 0.41 * side], fill=ink)
    mouth = [0.28 * side, 0.45 * side, 0.72 * side, 0.8 * side]
    if name == "happy":
        draw.chord(mouth, 0, 180, fill=ink)
    elif name == "sad":
        draw.arc([0.3 * side, 0.62 * side, 0.7 * side, 0.95 * side], 180, 360, fill=ink, width=side // 18)
    else:
        draw.line([(0.36 * side, 0.66 * side), (0.64 * side, 0.66 * side)], fill=ink, width=side // 18)
    small = np.array(image.resize((size, size), Image.Resampling.LANCZOS))
    pixels = torch.from_numpy(small).permute(2, 0, 1).float() / 255
    return torch.cat([pixels[:3] * pixels[3:], pixels[3:]])
