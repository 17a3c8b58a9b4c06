"""Captions say what is in the scene and nothing else; what is held out stays out."""

import random

import pytest

from tests.training.embedded.paper import paper_concept
from webui.training.embedded.words import (
    COLOURS,
    FACES,
    PLACES,
    STYLES,
    Arrangement,
    Concept,
    Scene,
    Thing,
    caption,
    held_out_name,
    is_held_out_concept,
    is_held_out_pair,
    korean_caption,
    plural,
    split_tags,
    wordnet_nouns,
)

APPLE = Concept("1f34e", "red apple", ("apple", "fruitlet"), ("food",), ("빨간 사과", "사과"), "food-fruit")
PANDA = Concept("1f43c", "panda", (), (), ("판다",), "animal-mammal")


def spoken(scene, count=200):
    return [caption(scene, random.Random(seed)) for seed in range(count)]


def test_a_scene_is_told_with_all_its_words():
    scene = Scene("line", (Thing(PANDA, "blue"), Thing(APPLE)), arrangement=Arrangement.LEFT, place="beach")
    texts = spoken(scene)
    assert all("blue panda" in text and "on the beach" in text for text in texts)
    assert any("to the left of" in text for text in texts)
    assert sum("line" in text for text in texts) > 150


@pytest.mark.parametrize("style", STYLES)
def test_only_the_default_style_is_usually_left_unsaid(style):
    said = sum(text not in ("panda", "a panda") for text in spoken(Scene(style, (Thing(PANDA),))))
    assert said < 130 if style == "fluent3d" else said > 170


def test_a_named_colour_replaces_the_own_colour():
    for text in spoken(Scene("fluent3d", (Thing(APPLE, "green"),), background="red")):
        assert "green" in text
        assert "red apple" not in text


def test_korean_says_place_colour_and_thing_in_korean_order():
    texts = [
        korean_caption(Scene("fluent3d", (Thing(PANDA, "blue"),), place="beach"), random.Random(s)) for s in range(20)
    ]
    assert all(text.startswith("해변의 파란 판다") for text in texts)


def test_every_colour_place_and_face_can_be_said_in_both_languages():
    for colour in COLOURS:
        assert colour in caption(Scene("noto", (Thing(PANDA, colour),)), random.Random(0))
    for place, (english, _) in PLACES.items():
        assert english in caption(Scene("noto", (Thing(PANDA),), place=place), random.Random(0))
        assert "판다" in korean_caption(Scene("noto", (Thing(PANDA),), place=place), random.Random(0))
    for face, (english, korean) in FACES.items():
        scene = Scene("noto", (Thing(APPLE, face=face),))
        assert english in caption(scene, random.Random(0))
        assert korean.format("") in korean_caption(scene, random.Random(0))


@pytest.mark.parametrize(
    ("one", "many"), [("cat", "cats"), ("fox", "foxes"), ("cherry", "cherries"), ("monkey", "monkeys")]
)
def test_plurals(one, many):
    assert plural(one) == many


def test_the_held_out_name_is_never_said():
    name = held_out_name(APPLE)
    assert name in APPLE.names
    other = next(each for each in APPLE.names if each != name)
    texts = spoken(Scene("fluent3d", (Thing(APPLE),)))
    words = {word.strip(",") for text in texts for word in text.replace("red apple", "").split()}
    assert name not in words
    assert other in words


def test_one_pair_in_ten_is_held_out_and_the_default_style_never():
    concepts = [paper_concept(number) for number in range(1000)]
    assert 60 < sum(is_held_out_pair(concept, "line") for concept in concepts) < 140
    assert not any(is_held_out_pair(concept, "fluent3d") for concept in concepts)
    assert 25 < sum(map(is_held_out_concept, concepts)) < 80


def test_tags_that_name_the_thing_are_told_from_those_that_hint_at_it():
    spread = {"puppy": 1, "animal": 90, "adorable": 2, "dog": 3}
    names, hints = split_tags("dog face", ["puppy", "animal", "adorable", "dog"], spread, {"puppy", "animal", "dog"})
    assert names == ["puppy", "dog"]
    assert hints == ["animal", "adorable"]


def test_concrete_nouns_are_read_from_wordnet():
    lines = [
        "  1 This software and database is being provided",
        "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 022 @ 02083346 n 0000 | a member of the genus",
        "00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is",
    ]
    assert wordnet_nouns("\n".join(lines)) == ["dog", "domestic dog"]
