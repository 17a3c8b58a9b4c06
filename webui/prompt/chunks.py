"""Weighted pieces -> chunks of 75 tokens, the length a text encoder reads at once, and how full they are.

Plain numbers; the tokenizer is passed in. The page's count and the engine's encoding use this one function.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from webui.errors import InvalidRequest
from webui.prompt.weights import Sections

CHUNK = 75
"""Tokens of a chunk without its start and end marks: CLIP reads 77."""
COMMA_BACKTRACK = 20
"""When a chunk is full, what follows a comma at most this many tokens back moves to the next one together."""


class Tokenizer(Protocol):
    """What is needed of one."""

    def ids(self, text: str) -> Sequence[int]:
        """The tokens of `text`, without start and end marks, however many."""
        ...


@dataclass(frozen=True)
class Placed:
    """An embedding in a chunk."""

    position: int
    """Of its first vector, counted from 0 without the start mark."""
    name: str


@dataclass(frozen=True)
class Chunk:
    """Up to `CHUNK` tokens. Where an embedding stands, its tokens are 0 and the engine puts in its vectors."""

    ids: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    """One per token."""
    embeddings: tuple[Placed, ...] = ()

    def framed(self, start: int, end: int, padding: int) -> tuple[list[int], list[float]]:
        """`CHUNK` + 2 ids and weights with the marks around them; padded with `padding` after the end mark."""
        missing = CHUNK - len(self.ids)
        return [start, *self.ids, end, *[padding] * missing], [1.0, *self.weights, *[1.0] * (missing + 1)]


@dataclass(frozen=True)
class TokenCount:
    """How many tokens a prompt takes, and how many its chunks hold."""

    used: int
    """Chunks that ended early count whole: what follows cannot use their room."""
    room: int


class Vocabulary:
    """A tokenizer and the embeddings that a prompt can name, each under its file's stem."""

    def __init__(self, tokenizer: Tokenizer, embeddings: Mapping[str, int] | None = None) -> None:
        """`embeddings`: name -> number of vectors. Raises `InvalidRequest` for one that fits into no chunk."""
        self.tokenizer = tokenizer
        comma = tokenizer.ids(",")
        self.comma = comma[0] if len(comma) == 1 else None
        self.vectors = dict(embeddings or {})
        self._names: dict[tuple[int, ...], str] = {}
        self._lengths: dict[int, set[int]] = {}
        for name, vectors in self.vectors.items():
            if not 1 <= vectors <= CHUNK:
                raise InvalidRequest(
                    "The embedding '{name}' has {vectors} vectors; a text encoder reads 1 to {most}.",
                    name=name, vectors=vectors, most=CHUNK,
                )  # fmt: skip
            if ids := tuple(tokenizer.ids(name)):
                self._names.setdefault(ids, name)
                self._lengths.setdefault(ids[0], set()).add(len(ids))

    def embedding_at(self, ids: Sequence[int], position: int) -> tuple[str, int] | None:
        """The embedding with the longest name that stands at `position`, and how many tokens the name takes."""
        for length in sorted(self._lengths.get(ids[position], ()), reverse=True):
            name = self._names.get(tuple(ids[position : position + length]))
            if name is not None:
                return name, length
        return None


def chunks(sections: Sections, vocabulary: Vocabulary, *, comma_backtrack: int = COMMA_BACKTRACK) -> tuple[Chunk, ...]:
    """At least one chunk; each section but the first begins a new one. `comma_backtrack` 0..74, 0 switches it off."""
    return _fill(sections, vocabulary, comma_backtrack).done_chunks


def count_tokens(
    said: Iterable[Sections], vocabulary: Vocabulary, *, comma_backtrack: int = COMMA_BACKTRACK
) -> TokenCount:
    """The count of the longest of several texts, as the steps and parts of one prompt need them."""
    fillings = (_fill(sections, vocabulary, comma_backtrack) for sections in said)
    used = max((filling.used for filling in fillings), default=0)
    return TokenCount(used, -(-max(used, 1) // CHUNK) * CHUNK)


def _fill(sections: Sections, vocabulary: Vocabulary, comma_backtrack: int) -> "_Filling":
    filling = _Filling(comma_backtrack)
    for number, section in enumerate(sections):
        if number:
            filling.close()
        for piece in section:
            _fill_piece(filling, vocabulary, vocabulary.tokenizer.ids(piece.text), piece.weight)
    filling.finish()
    return filling


def _fill_piece(filling: "_Filling", vocabulary: Vocabulary, ids: Sequence[int], weight: float) -> None:
    position = 0
    while position < len(ids):
        if found := vocabulary.embedding_at(ids, position):
            name, length = found
            filling.add_embedding(name, vocabulary.vectors[name], weight)
            position += length
        else:
            filling.add_token(ids[position], weight, is_comma=ids[position] == vocabulary.comma)
            position += 1


@dataclass(frozen=True)
class _Unit:
    """What is never split: a token, or all vectors of an embedding."""

    id: int
    weight: float
    size: int = 1
    embedding: str = ""


class _Filling:
    """Chunks being filled one unit at a time."""

    def __init__(self, comma_backtrack: int) -> None:
        self._comma_backtrack = comma_backtrack
        self._done: list[Chunk] = []
        self._units: list[_Unit] = []
        self._size = 0
        self._last_comma: int | None = None
        """Place in `_units`."""
        self.used = 0

    @property
    def done_chunks(self) -> tuple[Chunk, ...]:
        return tuple(self._done)

    def add_token(self, token: int, weight: float, *, is_comma: bool) -> None:
        if not is_comma:  # a comma never moves its own clause: it belongs to the text before it
            self._move_last_clause()
        self._make_room(1)
        if is_comma:
            self._last_comma = len(self._units)
        self._put(_Unit(token, weight))

    def add_embedding(self, name: str, vectors: int, weight: float) -> None:
        self._move_last_clause()
        self._make_room(vectors)
        self._put(_Unit(0, weight, vectors, name))

    def close(self) -> None:
        """End the chunk here, full or not."""
        self.used += CHUNK
        self._end()

    def finish(self) -> None:
        """End the last chunk, unless it is empty and not the only one."""
        if self._units or not self._done:
            self.used += self._size
            self._end()

    def _move_last_clause(self) -> None:
        """When the chunk is full and a comma is near its end, what follows the comma goes to the next chunk."""
        if self._last_comma is None or self._size < CHUNK:
            return
        moved = self._units[self._last_comma + 1 :]
        if sum(unit.size for unit in moved) + 1 > self._comma_backtrack:
            return
        del self._units[self._last_comma + 1 :]
        self.close()
        for unit in moved:
            self._put(unit)

    def _make_room(self, size: int) -> None:
        if self._size + size > CHUNK:
            self.close()

    def _put(self, unit: _Unit) -> None:
        self._units.append(unit)
        self._size += unit.size

    def _end(self) -> None:
        ids: list[int] = []
        weights: list[float] = []
        placed: list[Placed] = []
        for unit in self._units:
            if unit.embedding:
                placed.append(Placed(len(ids), unit.embedding))
            ids += [unit.id] * unit.size
            weights += [unit.weight] * unit.size
        self._done.append(Chunk(tuple(ids), tuple(weights), tuple(placed)))
        self._units, self._size, self._last_comma = [], 0, None
