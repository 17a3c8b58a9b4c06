"""A tokenizer for tests: each word and each other sign is one token."""

import re


class WordTokenizer:
    """Ids are given out as words are met, from 1; so `words_of` can say what a chunk holds."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def ids(self, text: str) -> list[int]:
        return [self.known.setdefault(word, len(self.known) + 1) for word in re.findall(r"\w+|[^\w\s]", text)]

    def words_of(self, ids) -> str:
        names = {number: word for word, number in self.known.items()} | {0: "?"}
        return " ".join(names[number] for number in ids)
