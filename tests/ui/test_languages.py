"""Every language has every word, and English says what the declarations say."""

import re
from string import ascii_letters

import pytest

from webui.errors import CannotStart, TrainingError, UserError
from webui.options import Options
from webui.params import parameters
from webui.requests import REQUESTS
from webui.ui.assets_router import ASSETS

PLACEHOLDER = re.compile(r"\{(\w+)\}")
USED = re.compile(r"""\bt\(\s*["'`]([^"'`]+)["'`]""")


def words(language: str) -> dict[str, str]:
    from webui.ui.languages import words

    return dict(words(language))


@pytest.mark.parametrize("kind", REQUESTS)
def test_english_labels_and_help_are_the_declared_ones(kind: str) -> None:
    from webui.ui.controls import word_key

    english = words("en")
    for name, field in parameters(REQUESTS[kind]).items():
        assert english[word_key(kind, name, "label")] == field.param.label
        assert english[word_key(kind, name, "help")] == field.param.help


def test_every_option_has_words_in_settings_and_they_are_the_declared_ones() -> None:
    english = words("en")
    for name, option in parameters(Options).items():
        assert english[f"option.{name}.label"] == option.param.label
        assert english[f"option.{name}.help"] == option.param.help


def test_every_language_has_the_same_keys_and_placeholders() -> None:
    english, korean = words("en"), words("ko")
    assert english.keys() <= korean.keys()
    for key in english:
        assert sorted(PLACEHOLDER.findall(english[key])) == sorted(PLACEHOLDER.findall(korean[key])), key
        assert english[key].strip(), key
        assert korean[key].strip(), key


def test_korean_is_korean() -> None:
    english, korean = words("en"), words("ko")
    same = [key for key in english if english[key] == korean[key] and not key.startswith("language.")]
    assert same == []
    latin = [key for key, text in korean.items() if text.isascii() and any(c in ascii_letters for c in bare(text))]
    assert latin == ["language.en"]


def bare(text: str) -> str:
    return PLACEHOLDER.sub("", text)


def test_every_word_the_script_asks_for_exists() -> None:
    english = words("en")
    for path in ASSETS.glob("*.js"):
        for key in USED.findall(path.read_text("utf-8")):
            start = key.split("${")[0]
            assert key in english or ("${" in key and any(known.startswith(start) for known in english)), (
                f"{path}: {key}"
            )


def test_every_error_that_a_page_can_meet_has_a_title() -> None:
    elsewhere = {CannotStart, *family(TrainingError)}
    kinds = {error.__name__ for error in family(UserError) - elsewhere - {UserError}} | {"InternalError"}
    assert {kind for kind in kinds if f"error.{kind}" not in words("en")} == set()


def family(error: type[UserError]) -> set[type[UserError]]:
    return {error}.union(*(family(kind) for kind in error.__subclasses__() if kind.__module__ == "webui.errors"))


def test_a_key_without_words_is_an_error() -> None:
    from webui.ui.languages import word

    with pytest.raises(KeyError, match="no 'nothing'"):
        word("nothing")
