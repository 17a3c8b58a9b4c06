"""What the server knows about prompts before a job is made of them: styles, and how many tokens they take.

The language itself is `webui.prompt`; the numbers for tensors are the engine's.
"""

from collections.abc import Sequence
from pathlib import Path

from webui.library import Passport
from webui.prompt.chunks import TokenCount
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
        self, passport: Passport, prompts: tuple[str, str], styles: Sequence[str], *, steps: int, emphasis: str
    ) -> tuple[TokenCount, TokenCount]:
        """Of the prompt and the negative prompt. Raises `CheckpointError`, `UnknownName`, `InvalidRequest`."""
        prompt, negative_prompt = self.styled(*prompts, styles)
        folder = passport.path / "tokenizer"
        count = self._counter.count
        return (
            count(folder, prompt, steps=steps, emphasis=emphasis),
            count(folder, negative_prompt, steps=steps, is_negative=True, emphasis=emphasis),
        )
