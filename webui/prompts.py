"""What the server knows about prompts before a job is made of them: styles, wildcards, how many tokens they take.

The language itself is `webui.prompt`; the numbers for tensors are the engine's.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from webui.library import Passport, ShelfItem
from webui.library.shelves import vectors_of
from webui.params import parameters
from webui.prompt.chunks import CHUNK, TokenCount
from webui.prompt.limits import MAX_CHARACTERS, check_characters
from webui.prompt.plan import finish
from webui.prompt.styles import StylesFile
from webui.prompt.wildcard_files import WildcardFolder
from webui.prompt.wildcards import Wildcards, may_be_drawn
from webui.request_groups import PROMPTS
from webui.requests import PictureRequest
from webui.tokens import TokenCounter

AnyPicture = TypeVar("AnyPicture", bound=PictureRequest)


class PromptDesk:
    """Safe to use from any thread."""

    def __init__(self, styles: Path, wildcards: Path) -> None:
        """`wildcards` is a folder, which need not be there."""
        self.styles = StylesFile(styles)
        self._wildcards = wildcards
        self._counter = TokenCounter()

    def styled(self, prompt: str, negative_prompt: str, names: Sequence[str]) -> tuple[str, str]:
        """Both prompts with the styles of these names put in, in order. Raises `UnknownName`, `InvalidRequest`."""
        if not names:
            return prompt, negative_prompt
        self.styles.refresh()
        chosen = self.styles.find(names)
        return (
            finish(prompt, styles=[style.prompt for style in chosen], comments=False),
            finish(negative_prompt, styles=[style.negative_prompt for style in chosen], comments=False),
        )

    def wildcards(self) -> WildcardFolder:
        """As they lie in their folder now."""
        return WildcardFolder(self._wildcards)

    def worded(self, request: AnyPicture) -> AnyPicture:
        """The resolved request with the words of each picture drawn by its seed, where there is anything to draw.

        Raises `UnknownName` for a wildcard that is not there, or `InvalidRequest`.
        """
        request = self._with_worded_origin(request)
        drawn = {name: text for name in PROMPTS if may_be_drawn(text := getattr(request, name, ""))}
        wildcards = self._wildcards_of(*drawn.values())
        seeds = [request.seed_of(picture) for picture in range(request.pictures)]
        wordings = {
            name: [_drawn(request, name, text, wildcards, seed) for seed in seeds] for name, text in drawn.items()
        }
        return dataclasses.replace(request, wordings=wordings) if wordings else request

    def _with_worded_origin(self, request: AnyPicture) -> AnyPicture:
        """What a branch goes on from is one picture, whose words its own seed has drawn, and so on back."""
        origin = request.origin
        if origin is None:
            return request
        named = {name: str(request.branch_from.get(name, "")) for name in PROMPTS}
        drawn = {name: text for name, text in named.items() if may_be_drawn(text)}
        wildcards, seed = self._wildcards_of(*drawn.values()), origin.seed_of(0)
        said: dict[str, Any] = {name: _drawn(origin, name, text, wildcards, seed) for name, text in drawn.items()}
        if (inner := self._with_worded_origin(origin)) is not origin:
            said["branch_from"] = inner.branch_from
        return dataclasses.replace(request, branch_from={**request.branch_from, **said}) if said else request

    def _wildcards_of(self, *prompts: str) -> Wildcards:
        """The folder is looked at only if one of the prompts may need it."""
        return self.wildcards() if any(map(may_be_drawn, prompts)) else {}

    def rolled(
        self, prompt: str, negative_prompt: str, names: Sequence[str], seeds: Sequence[int]
    ) -> list[tuple[str, str]]:
        """What both prompts with these styles say for each seed. Raises as `worded` and `styled` do."""
        styled = self.styled(prompt, negative_prompt, names)
        wildcards = self._wildcards_of(*styled)
        return [
            (
                finish(styled[0], wildcards=wildcards, seed=seed),
                finish(styled[1], wildcards=wildcards, seed=seed, is_negative=True),
            )
            for seed in seeds
        ]

    def tokens(
        self,
        passport: Passport,
        prompts: tuple[str, str],
        styles: Sequence[str],
        *,
        steps: int,
        emphasis: str,
        embeddings: Mapping[str, ShelfItem],
    ) -> tuple[TokenCount, TokenCount]:
        """Of the prompt and the negative prompt with the words of seed 0; `embeddings` are all there are.

        Raises `CheckpointError`, `UnknownName`, `InvalidRequest`.
        """
        ((prompt, negative_prompt),) = self.rolled(*prompts, styles, seeds=[0])
        said = f"{prompt}\n{negative_prompt}".lower()
        named = {path.stem: path for item in embeddings.values() if (path := item.path).stem.lower() in said}
        lengths = {name: vectors_of(path) for name, path in named.items()}
        vectors = {name: length for name, length in lengths.items() if 0 < length <= CHUNK}
        count = functools.partial(
            self._counter.count, passport.path, steps=steps, emphasis=emphasis, embeddings=vectors
        )
        return count(prompt), count(negative_prompt, is_negative=True)


def _drawn(request: PictureRequest, name: str, text: str, wildcards: Wildcards, seed: int) -> str:
    """What that prompt says for a seed. Raises `InvalidRequest` for words that its field could not hold."""
    said = finish(text, wildcards=wildcards, seed=seed, is_negative="negative" in name)
    check_characters(len(said), parameters(type(request))[name].param.max_length or MAX_CHARACTERS)
    return said
