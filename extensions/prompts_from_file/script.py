"""A job for each line of a text. What a line says is read in `lines`."""

from collections.abc import Sequence
from typing import Annotated

from webui.extension import (
    Cell,
    Finished,
    InvalidRequest,
    Param,
    PictureRequest,
    Request,
    ScriptHooks,
    changed,
    check_count,
    options,
)

from .lines import Line, read

SEEDS = 2**32


@options
class Options:
    text: Annotated[
        str,
        Param(label="List of prompt inputs", max_length=1_000_000,
              help='A prompt in each line, or flags: --prompt "a cat" --steps 30. A file can be dropped here.'),
    ] = ""  # fmt: skip
    iterate_seeds: Annotated[
        bool, Param(label="Iterate seed every line", help="The seed counts up from line to line.")
    ] = False
    same_seed: Annotated[
        bool, Param(label="Use same random seed for all lines", help="A seed of -1 is drawn once, not for each line.")
    ] = False
    insert_at: Annotated[
        str,
        Param(label="Insert prompts at the", values=("start", "end"),
              help="Where a line's prompt goes when the form has a prompt, too."),
    ] = "start"  # fmt: skip


class Script(ScriptHooks[Options]):
    def following(self, request: Request, finished: Sequence[Finished]) -> Sequence[Cell]:
        assert isinstance(request, PictureRequest)
        if finished:
            return ()
        check_count(sum(1 for line in self.options.text.splitlines() if line.strip()))
        lines = read(self.options.text)
        if not lines:
            raise InvalidRequest("There is no line with a prompt. Write one in each line, or drop a text file.")
        return [
            Cell(request=self._request(request, line, number), label=line.shown) for number, line in enumerate(lines)
        ]

    def _request(self, request: PictureRequest, line: Line, number: int) -> PictureRequest:
        values = {"seed": self._seed(request, number), **line.values}
        values["prompt"] = self._joined(line.prompt, request.prompt)
        values["negative_prompt"] = self._joined(line.values.get("negative_prompt"), request.negative_prompt)
        prompts = self.context.styled(values["prompt"], values["negative_prompt"], line.styles)
        return changed(request, **{**values, "prompt": prompts[0], "negative_prompt": prompts[1]})

    def _seed(self, request: PictureRequest, number: int) -> int:
        if self.options.iterate_seeds:
            return (request.seed + number * request.pictures) % SEEDS
        is_drawn = self.context.seed_is_open and not self.options.same_seed
        return -1 if is_drawn else request.seed

    def _joined(self, text: str | None, own: str) -> str:
        """A line's prompt and the form's, or whichever there is."""
        both = [text or "", own] if self.options.insert_at == "start" else [own, text or ""]
        return " ".join(part for part in both if part)
