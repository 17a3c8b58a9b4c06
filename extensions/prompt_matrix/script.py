"""Every combination of a prompt's parts: the first is always there, each of the others with and without."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from webui.extension import (
    Cell,
    Composed,
    Finished,
    Grid,
    InvalidRequest,
    Param,
    PictureRequest,
    Request,
    ScriptHooks,
    changed,
    draw_grid,
    opened,
    options,
)

MOST_PARTS = 10
"""Beside the first: 1,024 pictures."""
SEEDS = 2**32
JOINTS = {"comma": ", ", "space": " "}
PROMPTS = {"positive": "prompt", "negative": "negative_prompt"}
NOTHING_MORE = "–"


@options
class Options:
    at_start: Annotated[
        bool, Param(label="Put variable parts at start of prompt", help="Before the first part instead of after it.")
    ] = False
    different_seeds: Annotated[
        bool, Param(label="Use different seed for each picture", help="The seed counts up from picture to picture.")
    ] = False
    prompt: Annotated[
        str, Param(label="Select prompt", help="Which of the two prompts has the parts.", values=tuple(PROMPTS))
    ] = "positive"
    joined_by: Annotated[
        str, Param(label="Select joining char", help="What stands between the parts.", values=tuple(JOINTS))
    ] = "comma"
    margin: Annotated[
        int, Param(0, 500, step=2, label="Grid margins", help="Pixels between the pictures of the grid.")
    ] = 0


@dataclass(frozen=True)
class Matrix:
    """The prompt taken apart. Combination k has part i when bit i of k is set."""

    first: str
    parts: tuple[str, ...]

    @property
    def across(self) -> int:
        """Parts that change from column to column; the others change from row to row."""
        return (len(self.parts) + 1) // 2

    def chosen(self, combination: int) -> list[str]:
        return [part for number, part in enumerate(self.parts) if combination >> number & 1]


class Script(ScriptHooks[Options]):
    def following(self, request: Request, finished: Sequence[Finished]) -> Sequence[Cell]:
        assert isinstance(request, PictureRequest)
        if finished:
            return ()
        matrix = self._matrix(request)
        return [self._cell(request, matrix, combination) for combination in range(2 ** len(matrix.parts))]

    def columns(self, request: Request) -> int:
        return int(2 ** self._matrix(request).across)

    def compose(self, request: Request, finished: Sequence[Finished]) -> Iterator[Composed]:
        matrix = self._matrix(request)
        columns, rows = 2**matrix.across, 2 ** (len(matrix.parts) - matrix.across)
        names = ["\n".join(matrix.chosen(combination)) or NOTHING_MORE for combination in range(columns)]
        beside = ["\n".join(matrix.chosen(row * columns)) or NOTHING_MORE for row in range(rows)]
        grid = Grid(
            cells=[pictures[0] if pictures else None for pictures in opened(finished)],
            columns=columns,
            over=names if columns > 1 else [],
            beside=beside if rows > 1 else [],
            margin=self.options.margin,
        )
        yield Composed(image=draw_grid(grid))

    def _matrix(self, request: Request) -> Matrix:
        first, *parts = str(getattr(request, PROMPTS[self.options.prompt])).split("|")
        if len(parts) > MOST_PARTS:
            raise InvalidRequest(
                "{count} parts that | separates are too many: {most} are possible, which makes {pictures} pictures.",
                count=len(parts), most=MOST_PARTS, pictures=2**MOST_PARTS,
            )  # fmt: skip
        return Matrix(first, tuple(part.strip().strip(",") for part in parts))

    def _cell(self, request: PictureRequest, matrix: Matrix, combination: int) -> Cell:
        chosen = matrix.chosen(combination)
        parts = [*chosen, matrix.first] if self.options.at_start else [matrix.first, *chosen]
        prompt = JOINTS[self.options.joined_by].join(parts)
        seed = request.seed + (combination if self.options.different_seeds else 0)
        made = changed(
            request,
            prompt=prompt if self.options.prompt == "positive" else request.prompt,
            negative_prompt=prompt if self.options.prompt == "negative" else request.negative_prompt,
            seed=seed % SEEDS,
            batch_count=1,
            batch_size=1,
        )
        return Cell(request=made, label=", ".join(chosen) or NOTHING_MORE)
