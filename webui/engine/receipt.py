"""The receipt of a job: what happened on the way, in order, as sentences for the person who asked for it.

What has to be known at once is a `Warning` as well; who says something notes it here.
"""

from webui.sentences import Sentence


class Receipt:
    """Keeps each sentence once."""

    def __init__(self) -> None:
        self._said: list[Sentence] = []

    def note(self, told: Sentence) -> None:
        if told not in self._said:
            self._said.append(told)

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        return tuple(self._said)
