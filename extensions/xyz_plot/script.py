"""The plot: which combinations are made, in which order, with which seeds, and the grids that are drawn of them."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from PIL import Image

from webui.extension import (
    MOST_PIXELS,
    Cell,
    Composed,
    Finished,
    Grid,
    Inpaint,
    InvalidRequest,
    Param,
    PictureRequest,
    Request,
    ScriptHooks,
    TextToImage,
    changed,
    check_count,
    draw_grid,
    opened,
    options,
)

from . import values
from .axes import NOTHING, Axis, axes_of, check_replacement, find

SEEDS = 2**32
VALUES_HELP = 'A list such as 20, 30 or "a, b", c; ranges 1-5, 1-10 (+2), 1-10 [5].'


@options
class Options:
    x_axis: Annotated[str, Param(label="X type", help="What changes from column to column.")] = "seed"
    x_values: Annotated[str, Param(label="X values", help=VALUES_HELP, max_length=20_000)] = ""
    y_axis: Annotated[str, Param(label="Y type", help="What changes from row to row.")] = ""
    y_values: Annotated[str, Param(label="Y values", help=VALUES_HELP, max_length=20_000)] = ""
    z_axis: Annotated[str, Param(label="Z type", help="What changes from grid to grid.")] = ""
    z_values: Annotated[str, Param(label="Z values", help=VALUES_HELP, max_length=20_000)] = ""
    draw_legend: Annotated[bool, Param(label="Draw legend", help="Writes the values beside the pictures.")] = True
    keep_open_seeds: Annotated[
        bool, Param(label="Keep -1 for seeds", help="A seed of -1 is drawn anew for each picture of the plot.")
    ] = False
    vary_seeds_x: Annotated[bool, Param(label="Vary seeds for X", help="Each column has another seed.")] = False
    vary_seeds_y: Annotated[bool, Param(label="Vary seeds for Y", help="Each row has another seed.")] = False
    vary_seeds_z: Annotated[bool, Param(label="Vary seeds for Z", help="Each grid has another seed.")] = False
    include_sub_grids: Annotated[
        bool, Param(label="Include sub grids", help="Saves the grid of each Z value by itself, too.")
    ] = False
    margin: Annotated[
        int, Param(0, 500, step=2, label="Grid margins", help="Pixels between the pictures of the grid.")
    ] = 0


@dataclass(frozen=True)
class Along:
    """One axis of the plot with its values; without an axis one value that changes nothing."""

    letter: str
    axis: Axis | None
    values: Sequence[Any]
    text: str

    def apply(self, request: PictureRequest, number: int) -> PictureRequest:
        return request if self.axis is None else self.axis.apply(request, self.values[number])

    @property
    def names(self) -> list[str]:
        return [] if self.axis is None else [self.axis.tell(value) for value in self.values]


class Script(ScriptHooks[Options]):
    fillable = ("x_values", "y_values", "z_values")

    def following(self, request: Request, finished: Sequence[Finished]) -> Sequence[Cell]:
        assert isinstance(request, PictureRequest)
        if finished:
            return ()
        along = self._along(request)
        across, down, deep = (len(each.values) for each in along)
        check_count(across * down * deep)
        # The most expensive axis changes least often: it is the outermost.
        order = sorted((2, 1, 0), key=lambda place: -(axis.cost if (axis := along[place].axis) else 0.0))
        numbers = itertools.product(*(range(len(along[place].values)) for place in order))
        cells = []
        for combination in numbers:
            x, y, z = (number for _, number in sorted(zip(order, combination, strict=True)))
            place = (z * down + y) * across + x
            cells.append(
                Cell(request=self._request(request, along, (x, y, z)), label=_label(along, (x, y, z)), place=place)
            )
        self._check_size([cell.request for cell in cells])
        return cells

    def columns(self, request: Request) -> int:
        return len(self._along(request)[0].values)

    def compose(self, request: Request, finished: Sequence[Finished]) -> Iterator[Composed]:
        along = self._along(request)
        across, down, _ = (len(each.values) for each in along)
        pictures = [_picture(made) for made in opened(sorted(finished, key=lambda cell: cell.cell.place or 0))]
        grids = [
            draw_grid(self._grid(pictures[start : start + across * down], across, along))
            for start in range(0, len(pictures), across * down)
        ]
        told = self._told(along)
        names = along[2].names if self.options.draw_legend else []
        if len(grids) == 1:
            yield Composed(image=grids[0], told=told)
            return
        whole = Grid(cells=grids, columns=len(grids), over=names, margin=self.options.margin)
        yield Composed(image=draw_grid(whole), told=told)
        for grid, name in zip(grids, along[2].names, strict=True) if self.options.include_sub_grids else ():
            yield Composed(image=grid, told={**told, "Z Value": name})

    def choices(self, kind: str) -> Mapping[str, Mapping[str, str]]:
        named = {"": NOTHING, **{axis.name: axis.label for axis in axes_of(kind, self.context).values()}}
        return {"x_axis": named, "y_axis": named, "z_axis": named}

    def fill(self, option: str, kind: str) -> str:
        name = str(getattr(self.options, option.replace("values", "axis")))
        axis = find(name, axes_of(kind, self.context))
        if axis.everything is None:
            raise InvalidRequest("{axis} has no list of values: write a list or a range.", axis=axis.label)
        return values.joined(axis.everything())

    def _along(self, request: Request) -> tuple[Along, Along, Along]:
        """X, Y and Z."""
        axes = axes_of(request.kind, self.context)
        x, y, z = (self._one(letter, request, axes) for letter in "xyz")
        named = [each.axis.name for each in (x, y, z) if each.axis and each.axis.name not in ("prompt_sr", "styles")]
        if len({*named}) != len(named):
            raise InvalidRequest("Two axes are the same. Choose Nothing for one of them.")
        return x, y, z

    def _one(self, letter: str, request: Request, axes: Mapping[str, Axis]) -> Along:
        name, text = getattr(self.options, f"{letter}_axis"), getattr(self.options, f"{letter}_values")
        if not name or name == NOTHING:
            return Along(letter, None, (None,), "")
        axis = find(name, axes)
        found = axis.parse(text)
        assert isinstance(request, PictureRequest)
        if axis.name == "prompt_sr":
            check_replacement(request, found)
        if axis.name in ("seed", "variation_seed") and not self.options.keep_open_seeds:
            # -1 is one number for its whole row or column, and the same whenever the plot is asked again.
            found = [value if value >= 0 else (request.seed + number) % SEEDS for number, value in enumerate(found)]
        return Along(letter, axis, found, text)

    def _request(
        self, request: PictureRequest, along: Sequence[Along], numbers: tuple[int, int, int]
    ) -> PictureRequest:
        has_seeds = any(each.axis is not None and each.axis.name == "seed" for each in along)
        if self.options.keep_open_seeds and self.context.seed_is_open and not has_seeds:
            request = changed(request, seed=-1)
        for each, number in zip(along, numbers, strict=True):
            request = each.apply(request, number)
        return self._with_varied_seed(request, [len(each.values) for each in along], numbers)

    def _with_varied_seed(
        self, request: PictureRequest, counts: Sequence[int], numbers: tuple[int, int, int]
    ) -> PictureRequest:
        """The seeds count up along X, then along Y, then along Z, as far as these are to be varied."""
        offset, step = 0, 1
        for letter, count, number in zip("xyz", counts, numbers, strict=True):
            if getattr(self.options, f"vary_seeds_{letter}"):
                offset, step = offset + number * step, step * count
        return request if request.seed < 0 or not offset else changed(request, seed=(request.seed + offset) % SEEDS)

    def _check_size(self, requests: Sequence[Request]) -> None:
        """Cells are as large as the largest of them, and as full as the fullest."""
        sizes = [_size_of(request) for request in requests]
        width, height = max(width for width, _ in sizes), max(height for _, height in sizes)
        pictures = len(sizes) * max(request.pictures for request in requests)
        if pictures * width * height > MOST_PIXELS:
            raise InvalidRequest(
                "A grid of {cells} pictures of {width}×{height} has more than {most} million pixels. Take fewer values "
                "or smaller pictures.",
                cells=pictures, width=width, height=height, most=MOST_PIXELS // 1_000_000,
            )  # fmt: skip

    def _grid(self, pictures: Sequence[Image.Image | None], across: int, along: Sequence[Along]) -> Grid:
        over, beside = (along[0].names, along[1].names) if self.options.draw_legend else ([], [])
        return Grid(cells=pictures, columns=across, over=over, beside=beside, margin=self.options.margin)

    def _told(self, along: Sequence[Along]) -> dict[str, str]:
        """AUTOMATIC1111's keys."""
        told = {}
        for each in along:
            if each.axis is not None:
                letter = each.letter.upper()
                told |= {f"{letter} Type": each.axis.label, f"{letter} Values": each.text}
                if each.axis.name in ("seed", "variation_seed"):
                    told[f"Fixed {letter} Values"] = ", ".join(map(str, each.values))
        return told


def _size_of(request: Request) -> tuple[int, int]:
    """Of each picture when it is finished."""
    assert isinstance(request, PictureRequest)
    if isinstance(request, TextToImage) and request.hires:
        return request.hires_sizes[1]
    if isinstance(request, Inpaint):
        left, top, right, bottom = request.margins
        return request.width + left + right, request.height + top + bottom
    return request.width, request.height


def _label(along: Sequence[Along], numbers: tuple[int, int, int]) -> str:
    return ", ".join(each.names[number] for each, number in zip(along, numbers, strict=True) if each.axis is not None)


def _picture(pictures: Sequence[Image.Image]) -> Image.Image | None:
    """The cell's picture, a small grid of several, or None when it has none."""
    if len(pictures) < 2:
        return pictures[0] if pictures else None
    return draw_grid(Grid(cells=pictures, columns=math.ceil(math.sqrt(len(pictures)))))
