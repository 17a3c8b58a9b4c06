"""The contract between Easel and a script: many jobs out of one request. Extensions import it from `webui.extension`.

Owns what a `script.py` is written against, no torch and no gradio. Carrying a run out is the business of
`webui/scripts`.

A run goes in rounds. `ScriptHooks.following` is told everything that is finished and says which cells come next; when
all of those are over it is asked again, until it says none. It must say the same whenever it is told the same: a server
that was killed asks once more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from webui.errors import InvalidRequest, NotFound
from webui.grids import share_of, shrunk
from webui.params import Parameter
from webui.registry import CHOICES
from webui.request_base import Request
from webui.requests import construct, to_values

if TYPE_CHECKING:
    from PIL.Image import Image

OptionsType = TypeVar("OptionsType")
MOST_CELLS = 10_000
"""Of one run, over all its rounds."""
AnyRequest = TypeVar("AnyRequest", bound=Request)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job of a run."""

    request: Request
    """Any kind of picture. A seed of -1 is drawn once, when the cell is written down."""
    label: str = ""
    """What is shown beside its picture."""
    place: int | None = None
    """Where its picture stands on the page, row by row from 0; None: in the order of the cells."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A picture of a finished cell."""

    seed: int
    width: int
    height: int
    open: "Callable[[], Image]"
    """The picture, RGB. Raises `NotFound` when somebody has deleted it."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A cell that is over."""

    cell: Cell
    pictures: tuple[Made, ...]
    """None when it failed or was cancelled."""


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A picture that was put together of the cells' pictures; it is saved as theirs are."""

    image: "Image"
    told: Mapping[str, str] = field(default_factory=dict)
    """What its infotext tells beside the request, by name: {"X Type": "Steps"}."""
    request: Request | None = None
    """What it tells of itself instead of the run's request: of another prompt or size."""


@dataclass(frozen=True, kw_only=True)
class ScriptContext:
    """What a script can ask the server."""

    fields: Callable[[str], Mapping[str, Parameter]]
    """The fields of a kind of request, by name."""
    option_types: Mapping[str, type]
    """Class of the options of every extension that takes part in pictures, by the extension's name."""
    names: Callable[[str], Sequence[str]]
    """Everything that can be named of "checkpoints", "vae", "upscalers" or "styles"."""
    styled: Callable[[str, str, Sequence[str]], tuple[str, str]]
    """Both prompts with the styles of these names in them. Raises `UnknownName`."""
    open_picture: "Callable[[str], Image]"
    """An uploaded picture by its id, RGB. Raises `NotFound`."""
    keep_picture: "Callable[[Image], str]"
    """Keep a picture as if it were uploaded; the id that a request can name. The same pixels have the same id."""
    seed_is_open: bool = False
    """Whether -1 was asked for; the request that the script is given always has a number."""


class ScriptHooks(Generic[OptionsType]):
    """What makes many jobs out of one request. `script.py` defines a subclass named `Script`, and a class `Options`."""

    kinds: ClassVar[tuple[str, ...]] = ("txt2img", "img2img", "inpaint")
    """Of the requests that it takes."""
    fillable: ClassVar[tuple[str, ...]] = ()
    """Options that `fill` can fill in."""

    def __init__(self, options: OptionsType, context: ScriptContext) -> None:
        self.options = options
        self.context = context

    def following(self, request: Request, finished: Sequence[Finished]) -> Sequence[Cell]:
        """The next cells, in the order in which they are made; none: the run is over.

        `finished` are all cells there are, in their order, every one of them over. What is said for no finished cell at
        all is also the plan that a person is shown. Raises `UserError` for what cannot be done.
        """
        raise NotImplementedError

    def count(self, request: Request) -> int:
        """How many cells there will be, over all rounds."""
        return len(self.following(request, ()))

    def columns(self, request: Request) -> int:
        """Of the grid that the page shows while it grows; 0: as many as there is room for."""
        return 0

    def compose(self, request: Request, finished: Sequence[Finished]) -> Iterable[Composed]:
        """What is made of all cells in the end, picture by picture; nothing when their own pictures are all."""
        return ()

    def choices(self, kind: str) -> Mapping[str, Mapping[str, str]]:
        """Possible values of options that are known only now: option -> value -> what is shown for it."""
        return {}

    def fill(self, option: str, kind: str) -> str:
        """The value of a fillable option that names everything possible, with the other options as they are."""
        raise NotImplementedError


def opened(finished: "Sequence[Finished]") -> "list[list[Image]]":
    """The pictures of each cell, none of a cell that has none or of which one was deleted.

    Together they have no more pixels than a grid may: where they would, each is made smaller as soon as it is opened.
    """
    made = [picture for cell in finished for picture in cell.pictures]
    width, height = (max((getattr(each, side) for each in made), default=1) for side in ("width", "height"))
    share = share_of(len(made) * width * height)
    return [_opened(cell, share) for cell in finished]


def _opened(cell: Finished, share: float) -> "list[Image]":
    try:
        return [shrunk(made.open(), share) for made in cell.pictures]
    except NotFound:
        return []


def check_count(cells: int) -> None:
    """Raises `InvalidRequest` for more cells than a run may have; to be asked before any of them is built."""
    if cells > MOST_CELLS:
        raise InvalidRequest(
            "This would be a run of {count} pictures or more; {most} are possible. Ask for fewer.",
            count=f"{cells:,}", most=f"{MOST_CELLS:,}",
        )  # fmt: skip


def changed(request: AnyRequest, **values: Any) -> AnyRequest:
    """The same request with other values. Raises `InvalidRequest` or `UnknownName`, in words for a person."""
    return construct(type(request), {**to_values(request), **values})


def possible(parameter: Parameter) -> tuple[Any, ...]:
    """The values of a field or option that has a fixed choice; () for any other."""
    return parameter.param.values or CHOICES.get(parameter.param.choices, ())
