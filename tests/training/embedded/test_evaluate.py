"""Figures of the embedded model: they say what they claim to say, on pictures whose answer is known."""

import pytest

from tests.training.embedded.paper import paper_emoji
from webui.training.embedded.words import COLOURS, PLACES, held_out_name, is_held_out_pair
from webui.training.recipe import Mix

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def composer():
    from webui.training.embedded.scenes import Composer

    return Composer(paper_emoji(80, 32, ("fluent3d", "line")), Mix(), 0)


@pytest.fixture(scope="module")
def asked(composer):
    from webui.training.embedded.evaluate import candidates

    return candidates([each.concept for each in composer.pictures if each.style == "fluent3d"])


def test_questions_are_about_what_training_never_showed(asked):
    from webui.training.embedded.evaluate import CANDIDATES, questions

    sets = questions(asked, ("fluent3d", "line"))
    assert len(asked) == CANDIDATES == len({each.hexcode for each in asked})
    assert all(is_held_out_pair(each.concept, each.scene.style) for each in sets["styles"])
    assert all(is_held_out_pair(each.concept, each.scene.place) for each in sets["places"])
    assert all(each.prompt == f"a {held_out_name(each.concept)}" for each in sets["synonyms"])
    assert all(each.scene.place in PLACES for each in sets["places"])
    assert all(len(questions) <= CANDIDATES for questions in sets.values())
    assert min(map(len, sets.values())) > 0


def test_a_judge_that_knows_the_answer_ranks_it_first(asked):
    import torch

    from webui.training.embedded.evaluate import Judge

    class Oracle(torch.nn.Module):
        def forward(self, pictures):
            return torch.nn.functional.one_hot(pictures[:, 0, 0, 0].long(), len(asked)).float()

    judge = Judge(Oracle(), asked)
    right = torch.arange(len(asked)).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    assert judge.ranks(right, asked).max() == 0
    assert judge.ranks(right.roll(1, 0), asked).min() > 0


def test_real_pictures_show_what_is_asked(asked, composer):
    from webui.training.embedded.evaluate import colour_agreement, questions, real_pictures

    coloured = questions(asked, ("fluent3d",))["colours"]
    pictures = real_pictures(composer, coloured)
    assert colour_agreement(pictures, [each.scene.things[0].colour for each in coloured]) > 90
    names = list(COLOURS)
    wrong = [names[(names.index(each.scene.things[0].colour) + 5) % len(names)] for each in coloured]
    assert colour_agreement(pictures, wrong) < 10


def test_a_copy_is_found_out(composer):
    import torch

    from webui.training.embedded.evaluate import memorisation, sharpness
    from webui.training.embedded.first_stage import plain_pictures

    training = plain_pictures(composer.pictures[:20])
    copied, new = memorisation(training[:5], training), memorisation(1 - training[:5], training)
    drawn = "nearest training picture, drawn (RMS)"
    assert copied[drawn] < 1e-3
    assert new[drawn] > 10 * copied[drawn]
    assert copied["nearest other, training pictures (RMS)"] > 1e-3
    blurred = torch.nn.functional.avg_pool2d(training, 3, 1, 1, count_include_pad=False)
    assert sharpness(blurred) < sharpness(training)


def test_a_contact_sheet_has_every_picture_in_its_place(composer):
    import torch

    from webui.training.embedded.evaluate import contact_sheet

    shades = torch.linspace(-1, 1, 16).view(16, 1, 1, 1).expand(16, 3, 4, 4)
    sheet = contact_sheet(shades)
    assert sheet.size == (32, 8)
    assert sheet.getpixel((0, 0)) == (0, 0, 0)
    assert sheet.getpixel((31, 7)) == (255, 255, 255)
    assert sheet.getpixel((0, 4)) == (136, 136, 136)
