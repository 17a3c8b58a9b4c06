"""Composed pictures show what their captions say, where their boxes say, and never what is held out."""

import random

import pytest

from tests.training.embedded.paper import paper_emoji
from webui.training.embedded.words import COLOURS, PLACES, Arrangement, Scene, Thing, is_held_out_pair
from webui.training.recipe import Mix

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def composer():
    from webui.training.embedded.scenes import Composer

    return Composer(paper_emoji(40, 32, ("fluent3d", "line")), Mix(), 0)


def lots(composer, count=400):
    rng = random.Random(3)
    return [composer.draw(rng) for _ in range(count)]


def test_held_out_pairs_of_thing_and_style_or_place_are_never_drawn(composer):
    seen = lots(composer, 2000)
    pairs = {
        (t.concept, what) for each in seen for t in each.scene.things for what in (each.scene.style, each.scene.place)
    }
    assert not any(is_held_out_pair(concept, what) for concept, what in pairs if what)
    assert {each.scene.style for each in seen} == {"fluent3d", "line"}
    assert {each.scene.place for each in seen} == {None, *PLACES}


def test_every_kind_of_scene_occurs(composer):
    scenes = [each.scene for each in lots(composer)]
    assert {scene.arrangement for scene in scenes} == {None, *Arrangement}
    assert {scene.count for scene in scenes} == {1, 2, 3}
    assert any(thing.face for scene in scenes for thing in scene.things)
    assert any(thing.colour for scene in scenes for thing in scene.things)


def test_two_things_stand_as_the_words_say(composer):
    for each in lots(composer, 2000):
        if each.scene.arrangement is None:
            continue
        behind, front = each.placements
        (x1, y1), (x2, y2) = front.centre, behind.centre
        assert {
            Arrangement.LEFT: x1 < x2,
            Arrangement.RIGHT: x1 > x2,
            Arrangement.ABOVE: y1 < y2,
            Arrangement.BELOW: y1 > y2,
            Arrangement.FRONT: y1 > y2,
        }[each.scene.arrangement]


def test_the_box_is_where_the_thing_is(composer):
    from webui.training.embedded.scenes import Composition, Placement

    scene = Scene("fluent3d", (Thing(composer.pictures[0].concept),))
    picture = composer.paint([Composition(scene, (Placement(0, (0.3, 0.6), 0.5, True),))])[0]
    ((label, (left, top, right, bottom)),) = composer.boxes(Composition(scene, (Placement(0, (0.3, 0.6), 0.5, True),)))
    assert label == "disc 0"
    coloured = (picture < 0.9).any(0).nonzero()
    (first_row, first_column), (last_row, last_column) = (
        coloured.min(0).values.tolist(),
        coloured.max(0).values.tolist(),
    )
    for edge, pixel in ((left, first_column), (top, first_row), (right, last_column + 1), (bottom, last_row + 1)):
        assert abs(edge * 32 - pixel) <= 1.5


def test_pictures_are_in_range_and_the_same_for_the_same_lots(composer):
    import torch

    few = lots(composer, 12)
    first, second = composer.paint(few), composer.paint(few)
    assert first.shape == (12, 3, 32, 32)
    assert float(first.abs().max()) <= 1.0001
    assert torch.equal(first, second)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_recoloured_thing_has_that_colour(composer, colour):
    import torch

    from webui.training.embedded.scenes import Composition, Placement

    scene = Scene("fluent3d", (Thing(composer.pictures[1].concept, colour),))
    picture = composer.paint([Composition(scene, (Placement(1, (0.5, 0.5), 1.0, colour=colour),))])[0]
    middle = (picture[:, 14:18, 14:18].mean((1, 2)) + 1) * 127.5
    distances = {name: float((middle - torch.tensor(rgb)).abs().sum()) for name, (_, rgb) in COLOURS.items()}
    assert min(distances, key=distances.__getitem__) == colour


def test_a_face_is_drawn_inside_the_thing(composer):
    import torch

    from webui.training.embedded.scenes import Composition, Placement

    scene = Scene("fluent3d", (Thing(composer.pictures[2].concept),))
    plain, faced = (
        composer.paint([Composition(scene, (Placement(2, (0.5, 0.5), 1.0, face=face),))])[0] for face in (None, "happy")
    )
    assert not torch.equal(plain, faced)
    outside = (plain > 0.999).all(0)
    assert torch.allclose(plain[:, outside], faced[:, outside], atol=1e-3)


def test_line_drawings_are_dark_lines_on_white_inside_the_shape():
    import numpy as np
    from PIL import Image

    from webui.training.embedded.emoji import line_drawing

    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[16:48, 16:48] = (200, 30, 30, 255)
    drawn = np.asarray(line_drawing(Image.fromarray(pixels)))
    assert (drawn[32, 32, :3] > 240).all()
    assert drawn[32, 32, 3] == 255
    assert (drawn[32, 16, :3] < 120).all()
    assert drawn[2, 2, 3] == 0
