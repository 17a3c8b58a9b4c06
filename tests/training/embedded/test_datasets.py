"""Datasets made from scenes are what the trainers read, and each look is what its name says."""

import pytest

from tests.training.embedded.paper import paper_emoji
from webui.errors import TrainingError
from webui.training.recipe import Mix

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def composer():
    from webui.training.embedded.scenes import Composer

    return Composer(paper_emoji(6, 64), Mix(), 0)


@pytest.mark.parametrize("look", ["plain", "pixel-art", "blueprint"])
def test_a_written_dataset_is_read_with_captions_boxes_and_labels(tmp_path, composer, look):
    from webui.training.data import read_dataset
    from webui.training.embedded.datasets import write_dataset

    write_dataset(composer, look, 5, tmp_path / "set")
    found = read_dataset(tmp_path / "set")
    assert len(found.examples) == 5
    assert not found.problems
    for example in found.examples:
        assert example.caption
        assert example.label.startswith("disc")
        assert example.boxes
        assert all(0 <= box.left < box.right <= 1 for box in example.boxes)


def test_pixel_art_has_large_blocks_of_few_colours(composer):
    import numpy as np
    from PIL import Image

    from webui.training.embedded.datasets import PIXEL_BLOCKS, PIXEL_COLOURS, pixel_art

    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    made = np.asarray(pixel_art(Image.fromarray(noise)))
    side = 64 // PIXEL_BLOCKS
    assert (made.reshape(PIXEL_BLOCKS, side, PIXEL_BLOCKS, side, 3).std(axis=(1, 3)) == 0).all()
    assert len(np.unique(made.reshape(-1, 3), axis=0)) <= PIXEL_COLOURS


def test_a_blueprint_is_white_lines_on_blue():
    from PIL import Image

    from webui.training.embedded.datasets import BLUEPRINT_PAPER, blueprint

    picture = Image.new("RGB", (64, 64), "white")
    picture.paste("black", (20, 20, 44, 44))
    made = blueprint(picture)
    assert made.getpixel((5, 5)) == BLUEPRINT_PAPER
    assert made.getpixel((32, 32)) == BLUEPRINT_PAPER
    assert made.getpixel((20, 32)) == (255, 255, 255)


def test_wrong_looks_and_full_folders_are_refused(tmp_path, composer):
    from webui.training.embedded.datasets import write_dataset

    with pytest.raises(TrainingError, match="plain, pixel-art, blueprint"):
        write_dataset(composer, "sepia", 1, tmp_path / "set")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    with pytest.raises(TrainingError, match="new folder"):
        write_dataset(composer, "plain", 1, tmp_path / "full")
