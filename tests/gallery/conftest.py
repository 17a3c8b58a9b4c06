"""A gallery over a folder of its own, which can be opened again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webui.gallery import Gallery

PATIENCE = 60.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    return tmp_path


@pytest.fixture
def opened(home: Path) -> Iterator[Callable[..., Gallery]]:
    """Opens the gallery; opening it again is a restart."""
    open_ones: list[Gallery] = []

    def open_one(**options: object) -> Gallery:
        if open_ones:
            open_ones.pop().close()
        gallery = Gallery(home / "data", home / "outputs", **options)  # type: ignore[arg-type]
        gallery.start()
        assert gallery.refresh(PATIENCE)
        open_ones.append(gallery)
        return gallery

    yield open_one
    for gallery in open_ones:
        gallery.close()
