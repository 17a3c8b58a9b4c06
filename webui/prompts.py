"""What the server knows about prompts before a job is made of them: styles, and how many tokens they take.

The language itself is `webui.prompt`; the numbers for tensors are the engine's.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from webui.library import Passport, ShelfItem
from webui.library.shelves import vectors_of
from webui.prompt.chunks import CHUNK, TokenCount
from webui.prompt.plan import finish
from webui.prompt.styles import StylesFile
from webui.tokens import TokenCounter


class PromptDesk:
    """Safe to use from any thread."""

    def __init__(self, styles: Path) -> None:
        self.styles = StylesFile(styles)
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
        """Of the prompt and the negative prompt; `embeddings` are all there are.

        Raises `CheckpointError`, `UnknownName`, `InvalidRequest`.
        """
        prompt, negative_prompt = self.styled(*prompts, styles)
        said = f"{prompt}\n{negative_prompt}".lower()
        named = {path.stem: path for item in embeddings.values() if (path := item.path).stem.lower() in said}
        lengths = {name: vectors_of(path) for name, path in named.items()}
        vectors = {name: length for name, length in lengths.items() if 0 < length <= CHUNK}
        count = functools.partial(
            self._counter.count, passport.path, steps=steps, emphasis=emphasis, embeddings=vectors
        )
        return count(prompt), count(negative_prompt, is_negative=True)
