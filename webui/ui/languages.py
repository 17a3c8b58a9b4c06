"""The words of the page in every language: flat JSON files in `languages/`, shared by Gradio and our script.

English names the words of the page by keys; the other files hold the server's sentences as well, each under its English
template (`webui/sentences.py`). What a language lacks is a failing test, not a fallback.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import gradio as gr
from gradio.i18n import I18nData

FOLDER = Path(__file__).parent / "languages"
LANGUAGES = ("en", "ko")


@cache
def words(language: str) -> Mapping[str, str]:
    """All keys of one of `LANGUAGES` with their texts, sentences of the server included."""
    return MappingProxyType(json.loads((FOLDER / f"{language}.json").read_text("utf-8")))


def translations() -> gr.I18n:
    """What Gradio needs to show `word(...)` in the reader's language."""
    keys = words("en")
    return gr.I18n(**{language: {key: words(language)[key] for key in keys} for language in LANGUAGES})


def word(key: str) -> I18nData:
    """A text that the browser picks in the reader's language. Raises `KeyError` when there is no such text."""
    if key not in words("en"):
        raise KeyError(f"languages/en.json has no '{key}'")
    return gr.I18n()(key)


def has_word(key: str) -> bool:
    return key in words("en")
