"""Chunks of 75 tokens: AUTOMATIC1111's vectors, embeddings that take several, and the count that the page shows."""

import pytest

from tests.prompt.words import WordTokenizer
from webui.errors import InvalidRequest
from webui.prompt.chunks import CHUNK, Chunk, Placed, TokenCount, Vocabulary, chunks, count_tokens
from webui.prompt.weights import sections


def words(count, word="w"):
    return f"{word} " * count


def sizes(text, **options):
    return [len(chunk.ids) for chunk in chunks(sections(text), Vocabulary(WordTokenizer()), **options)]


def counted(text, **options):
    count = count_tokens([sections(text)], Vocabulary(WordTokenizer()), **options)
    return f"{count.used}/{count.room}"


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        (words(75), [75], "75/75"),
        (words(76), [75, 1], "76/150"),
        (words(60) + "," + words(20), [61, 20], "95/150"),
        (words(55) + "," + words(25), [56, 25], "100/150"),
        (words(54) + "," + words(26), [75, 6], "81/150"),
        (words(75) + "," + words(1), [75, 2], "77/150"),
        ("a BREAK b", [1, 1], "76/150"),
        ("x BREAK", [1], "75/75"),
        ("a BREAK BREAK b", [1, 0, 1], "151/225"),
        ("", [0], "0/75"),
        (words(60) + "," + words(5) + "," + words(20), [67, 20], "95/150"),
        (words(74) + "," + words(1), [75, 1], "76/150"),
        (words(60) + "," + words(14) + "BREAK b", [75, 1], "76/150"),
    ],
)
def test_chunks_and_count_are_automatic1111s(text, expected, count):
    assert sizes(text) == expected
    assert counted(text) == count


def test_the_comma_rule_can_be_narrowed_and_switched_off():
    text = words(60) + "," + words(20)
    assert sizes(text, comma_backtrack=0) == [75, 6]
    assert sizes(text, comma_backtrack=14) == [75, 6]
    assert sizes(text, comma_backtrack=15) == [61, 20]
    assert sizes("a, " + words(80), comma_backtrack=74) == [2, 75, 5]


def test_weights_go_with_their_tokens_over_the_end_of_a_chunk():
    tokenizer = WordTokenizer()
    text = words(60) + ", " + "(" + words(20, "heavy") + ":1.5)"
    first, second = chunks(sections(text), Vocabulary(tokenizer))
    assert first.weights == (1.0,) * 61
    assert second.weights == (1.5,) * 20
    assert tokenizer.words_of(second.ids) == words(20, "heavy").strip()


def test_a_chunk_is_framed_to_77_ids_with_the_padding_of_the_model():
    ids, weights = Chunk((5, 6), (1.2, 0.5)).framed(start=100, end=101, padding=7)
    assert ids == [100, 5, 6, 101, *[7] * 73]
    assert weights == [1, 1.2, 0.5, *[1] * 74]
    full = Chunk((5,) * CHUNK, (1.0,) * CHUNK).framed(100, 101, 7)
    assert [len(full[0]), len(full[1]), full[0][-1]] == [77, 77, 101]
    assert Chunk().framed(1, 2, 2) == ([1, *[2] * 76], [1.0] * 77)


def test_an_embedding_takes_as_many_tokens_as_it_has_vectors():
    vocabulary = Vocabulary(WordTokenizer(), {"my-style": 3})
    (chunk,) = chunks(sections("by (my-style:1.2), x"), vocabulary)
    assert chunk.ids[1:4] == (0, 0, 0)
    assert chunk.weights == (1, 1.2, 1.2, 1.2, 1, 1)
    assert chunk.embeddings == (Placed(1, "my-style"),)
    assert count_tokens([sections("by my-style")], vocabulary) == TokenCount(4, 75)


def test_the_longest_name_wins_anywhere_in_the_text():
    vocabulary = Vocabulary(WordTokenizer(), {"style": 1, "style - x": 2, "style - x y": 4})
    (chunk,) = chunks(sections("a style, style-x y style-x z"), vocabulary)
    assert [placed.name for placed in chunk.embeddings] == ["style", "style - x y", "style - x"]


def test_an_embedding_is_never_split_and_moves_with_its_clause():
    vocabulary = Vocabulary(WordTokenizer(), {"emb": 4})
    first, second = chunks(sections(words(73) + "emb"), vocabulary)
    assert (len(first.ids), second.embeddings) == (73, (Placed(0, "emb"),))
    first, second = chunks(sections(words(68) + ", a emb" + words(9, " b")), vocabulary)
    assert len(first.ids) == 69
    assert second.embeddings == (Placed(1, "emb"),)


@pytest.mark.parametrize("vectors", [0, 76])
def test_an_embedding_that_fits_into_no_chunk_is_refused(vectors):
    with pytest.raises(InvalidRequest, match="'big'"):
        Vocabulary(WordTokenizer(), {"big": vectors})


def test_the_longest_of_several_texts_is_counted():
    said = [sections(text) for text in (words(3), words(80), words(9))]
    assert count_tokens(said, Vocabulary(WordTokenizer())) == TokenCount(80, 150)
    assert count_tokens([], Vocabulary(WordTokenizer())) == TokenCount(0, 75)


def test_a_tokenizer_without_a_token_for_the_comma_still_works():
    class Letters:
        def ids(self, text):
            return [byte for letter in text for byte in (ord(letter), 1)]

    assert [len(chunk.ids) for chunk in chunks(sections("a," * 30), Vocabulary(Letters()))] == [75, 45]
