"""How the pictures of each wording are made: prepared by extensions, read, encoded, one row of passes for all alike.

Pictures whose prompts say the same share a row; wildcards give a batch several. What a pass is made of is known to
`passes`, who walks through them to `generation`.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from webui.contract import Job
from webui.engine.beginning import Beginning, beginning_of
from webui.engine.branching import branched
from webui.engine.extensions import Runner
from webui.engine.hires import check_upscaler
from webui.engine.models import Components
from webui.engine.passes import Pass, passes_of
from webui.engine.text import PlannedPrompts
from webui.engine.tiling import tiled
from webui.engine.upscaling import Upscalers
from webui.engine.vae import Tell
from webui.prompt.tags import Tag
from webui.request_groups import PROMPTS
from webui.requests import PictureRequest, TextToImage


@dataclass(frozen=True, kw_only=True)
class Row:
    """What pictures of the same words have in common."""

    request: PictureRequest
    """With these words, as extensions have prepared it."""
    beginning: Beginning
    passes: tuple[Pass, ...]
    """At least one."""
    used: Mapping[str, object]
    """What the pictures' texts tell beside the request."""

    @property
    def steps(self) -> int:
        """Of all passes together."""
        return self.passes[-1].before + self.passes[-1].until

    @property
    def tags(self) -> tuple[Tag, ...]:
        """Of all passes, each once."""
        return tuple(dict.fromkeys(tag for each in self.passes for tag in each.prompts.tags))

    def changes(self, picture: int) -> tuple[bool, ...]:
        """Whether that picture takes up other seeds, for each pass that goes on from the one before."""
        return tuple(
            own.seeds(picture) != before.seeds(picture) for before, own in pairwise(self.passes) if own.continues
        )


class Rows:
    """Makes the row of a picture when it is asked for, and keeps the last one: encoded prompts take room."""

    def __init__(
        self,
        job: Job,
        request: PictureRequest,
        components: Components,
        load: Callable[[str], Components],
        upscalers: Upscalers,
        extensions: Runner,
        tell: Tell,
    ) -> None:
        self._job = job
        self._request = request
        self._components = components
        self._load = load
        self._upscalers = upscalers
        self._extensions = extensions
        self._tell = tell
        self._made: tuple[dict[str, str], Row] | None = None
        self._seamless = ExitStack()
        self._tiled: set[int] = set()

    def close(self) -> None:
        """Undo what tiling changed about the networks."""
        self._seamless.close()
        self._tiled.clear()

    def is_made(self, picture: int) -> bool:
        """Whether the row of that picture is at hand."""
        return self._made is not None and self._made[0] == self._request.wording(picture)

    def of(self, picture: int) -> Row:
        """Of that picture, 0-based over all batches. Raises `UserError`."""
        if self._made is None or not self.is_made(picture):
            self._made = self._request.wording(picture), self._new(picture)
        return self._made[1]

    def alike(self, picture: int, end: int) -> tuple[int, ...]:
        """The pictures from that one on and before `end` that say the same as it without a break.

        Where a branch takes up other seeds what a sampler remembers is lost, for all that are made together: pictures
        whose seeds change are no company for those whose seeds stay.
        """
        last, words = picture + 1, self._request.wording(picture)
        row = self.of(picture) if self._request.branch_step else None
        while last < end and self._request.wording(last) == words:
            if row is not None and row.changes(last) != row.changes(picture):
                break
            last += 1
        return tuple(range(picture, last))

    def _new(self, picture: int) -> Row:
        asked = self._request.worded(picture)
        request = self._extensions.prepare(asked)
        if isinstance(request, TextToImage) and request.hires:
            check_upscaler(request, self._upscalers)
        self._make_seamless(request, self._components)
        beginning = self._beginning(request)
        passes = self._passes(request, asked, beginning)
        self._make_seamless(request, *(each.components for each in passes))
        used = used_embeddings(each.prompts for each in passes)
        return Row(request=request, beginning=beginning, passes=passes, used=used)

    def _passes(self, request: PictureRequest, asked: PictureRequest, beginning: Beginning) -> tuple[Pass, ...]:
        """The passes of `asked`, which extensions have prepared as `request`, and of what it branches from."""
        hold, tell = self._extensions.hold, self._tell
        own = passes_of(request, self._components, beginning, self._load, hold, tell)
        if (origin := asked.origin) is None:
            return own
        return branched(self._passes(self._extensions.prepare(origin), origin, beginning), own, request.branch_step)

    def _make_seamless(self, request: PictureRequest, *components: Components) -> None:
        """For a tiling picture what it draws with, each once, until `close`."""
        for each in components if request.tiling else ():
            if id(each) not in self._tiled:
                self._tiled.add(id(each))
                self._seamless.enter_context(tiled(each))

    def _beginning(self, request: PictureRequest) -> Beginning:
        """The one before unless more than the words has changed: a picture is encoded once."""
        if self._made is not None and _wordless(request) == _wordless(self._made[1].request):
            return self._made[1].beginning
        return beginning_of(request, self._job.inputs, self._components, self._tell)


def _wordless(request: PictureRequest) -> PictureRequest:
    words: dict[str, Any] = {name: "" for name in PROMPTS if hasattr(request, name)}
    return replace(request, **words)


def used_embeddings(prompts: Iterable[PlannedPrompts]) -> Mapping[str, object]:
    """What a picture's text says of them, as AUTOMATIC1111 writes it."""
    named = {name: embedding for each in prompts for name, embedding in each.embeddings.items()}
    hashes = ", ".join(f"{name}: {embedding.hash}" for name, embedding in named.items())
    return {"TI hashes": hashes or None}
