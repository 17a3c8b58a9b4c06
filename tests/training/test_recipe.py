"""Recipes: every shipped one is valid, a wrong one is refused in words."""

import pytest

from webui.errors import InvalidRecipe, MissingTrainingData
from webui.training.recipe import available_recipes, load_recipe

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", sorted(available_recipes()))
def test_every_shipped_recipe_is_valid(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "valid recipe"),
        ("name = ", "valid recipe"),
        ("x = 1", "valid recipe"),
        ("[classifier]", "either by minutes or by steps"),
    ],
)
def test_a_wrong_recipe_is_refused_in_words(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InvalidRecipe, match=words):
        load_recipe(str(path))
    with pytest.raises(InvalidRecipe, match="Shipped: easel"):
        load_recipe("absent")


def test_missing_pictures_are_named(tmp_path):
    from webui.training.embedded.emoji import load_emoji

    with pytest.raises(MissingTrainingData, match="emojibase-data"):
        load_emoji(tmp_path, ["fluent3d"], ["animal-mammal"], 16)
