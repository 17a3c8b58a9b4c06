"""First the whole picture is enlarged, then each tile of it is painted anew, then the tiles become one picture."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from PIL import Image

from webui.extension import (
    Cell,
    Composed,
    Finished,
    ImageToImage,
    InvalidRequest,
    NotFound,
    Param,
    Request,
    ScriptHooks,
    Upscale,
    changed,
    check_count,
    options,
)

from .tiles import Tiling

NONE = "None"
SEEDS = 2**32
LAST = 100_000
"""Place of the enlarged picture on the page: behind all tiles."""


@options
class Options:
    overlap: Annotated[
        int, Param(0, 256, step=16, label="Tile overlap", help="Over so many pixels two tiles blend into each other.")
    ] = 64
    scale: Annotated[
        float, Param(1.0, 4.0, step=0.05, label="Scale factor", help="How many times as wide and as high it becomes.")
    ] = 2.0
    upscaler: Annotated[
        str,
        Param(label="Upscaler", max_length=300,
              help="What enlarges the picture before it is painted anew. None: it keeps its size."),
    ] = NONE  # fmt: skip


class Script(ScriptHooks[Options]):
    kinds = ("img2img",)

    def following(self, request: Request, finished: Sequence[Finished]) -> Sequence[Cell]:
        assert isinstance(request, ImageToImage)
        if self._first_tile > len(finished):
            made = Upscale(image=request.image, upscaler=self.options.upscaler, scale=self.options.scale)
            check_count(self.count(request))  # what is impossible is said now
            return [Cell(request=made, label=self.options.upscaler, place=LAST)]
        if len(finished) > self._first_tile or not self._is_enlarged(finished):
            return ()
        check_count(self.count(request))
        images = self._tiling(request).each(self._picture(request, finished), self.context.keep_picture)
        return [
            self._tile(request, image, batch * len(images) + place, batch)
            for batch in range(request.batch_count)
            for place, image in enumerate(images)
        ]

    def count(self, request: Request) -> int:
        assert isinstance(request, ImageToImage)
        tiling = self._tiling(request)
        return self._first_tile + len(tiling.across) * len(tiling.down) * request.batch_count

    def columns(self, request: Request) -> int:
        assert isinstance(request, ImageToImage)
        return len(self._tiling(request).across)

    def compose(self, request: Request, finished: Sequence[Finished]) -> Iterator[Composed]:
        assert isinstance(request, ImageToImage)
        tiling = self._tiling(request)
        before = tiling.cut(self._picture(request, finished))
        for start in range(self._first_tile, len(finished), len(before)):
            painted = [_opened(cell) for cell in finished[start : start + len(before)]]
            tiles = [tile or old for tile, old in zip(painted, before, strict=True)]
            told = {"SD upscale overlap": str(self.options.overlap), "SD upscale upscaler": self.options.upscaler}
            if missing := painted.count(None):
                told["SD upscale tiles left as they were"] = str(missing)
            seed = (request.seed + (start - self._first_tile) // len(before)) % SEEDS
            yield Composed(image=tiling.join(tiles), told=told, request=changed(request, seed=seed))

    def choices(self, kind: str) -> Mapping[str, Mapping[str, str]]:
        return {"upscaler": {name: name for name in self.context.names("upscalers")}}

    @property
    def _first_tile(self) -> int:
        """Number of the first cell that is a tile: before it the picture is enlarged, if it is."""
        return 0 if self.options.upscaler == NONE else 1

    def _is_enlarged(self, finished: Sequence[Finished]) -> bool:
        return not self._first_tile or bool(finished[0].pictures)

    def _picture(self, request: ImageToImage, finished: Sequence[Finished]) -> Image.Image:
        return finished[0].pictures[0].open() if self._first_tile else self.context.open_picture(request.image)

    def _tiling(self, request: ImageToImage) -> Tiling:
        """Raises `InvalidRequest` for a picture smaller than a tile, or an overlap that leaves nothing of one."""
        width, height = self.context.open_picture(request.image).size
        if self._first_tile:
            made = Upscale(image=request.image, upscaler=self.options.upscaler, scale=self.options.scale)
            width, height = made.enlarged((width, height))
        if request.width > width or request.height > height:
            raise InvalidRequest(
                "A tile of {tile_width}×{tile_height} is larger than the picture of {width}×{height}. Make width and "
                "height smaller, or choose an upscaler and a larger scale factor.",
                tile_width=request.width, tile_height=request.height, width=width, height=height,
            )  # fmt: skip
        if self.options.overlap >= min(request.width, request.height):
            raise InvalidRequest(
                "Tiles of {width}×{height} cannot overlap by {overlap} pixels. Take larger tiles or a smaller overlap.",
                width=request.width, height=request.height, overlap=self.options.overlap,
            )  # fmt: skip
        return Tiling((width, height), (request.width, request.height), self.options.overlap)

    def _tile(self, request: ImageToImage, image: str, place: int, batch: int) -> Cell:
        values = {"image": image, "batch_count": 1, "batch_size": 1, "seed": (request.seed + batch) % SEEDS}
        return Cell(request=changed(request, **values), label=f"{place + 1}", place=place)


def _opened(cell: Finished) -> Image.Image | None:
    try:
        return cell.pictures[0].open() if cell.pictures else None
    except NotFound:
        return None
