"""How a finished picture becomes a file, as the options are now: its format, what it says of itself, its name.

Which name is free and how it gets to the disk is the business of `outputs.py`.
"""

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from webui.errors import UserError
from webui.events import Image
from webui.jobs.outputs import Place
from webui.jobs.records import JobRecord
from webui.metadata.writing import convert, without_texts
from webui.naming import Named, file_name, folder_name
from webui.options import Options
from webui.sentences import Sentence

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WebP": ".webp"}
_MODEL_HASH = re.compile(r"\bModel hash: ([0-9a-f]+)")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A picture as it is to be saved."""

    content: bytes
    place: Place
    warning: Sentence | None = None
    """What was asked for and could not be."""


class Saving:
    """Safe from any thread; keeps nothing."""

    def __init__(self, options: Callable[[], Options] = Options) -> None:
        self._options = options

    def finished(self, record: JobRecord, image: Image) -> Finished:
        """A picture of a job, as `saved` does it."""
        return self.saved(record.values, image, started=record.started)

    def saved(self, values: Mapping[str, Any], image: Image, *, started: float | None) -> Finished:
        """Never fails: what cannot be written as asked for is a PNG, and says so."""
        options, warning = self._options(), None
        png = image.png if options.write_metadata else without_texts(image.png)
        content, suffix = png, SUFFIXES["PNG"]
        if options.picture_format != "PNG":
            try:
                content, suffix = _converted(png, options), SUFFIXES[options.picture_format]
            except (OSError, ValueError, UserError) as error:  # WebP ends at 16383 pixels, JPEG at 65535
                warning = Sentence(
                    "The picture was saved as PNG: {format} cannot hold it ({reason}).",
                    format=options.picture_format, reason=str(error)[:200],
                )  # fmt: skip
        return Finished(content=content, place=_place(options, _named(values, image, started), suffix), warning=warning)


def _converted(png: bytes, options: Options) -> bytes:
    quality = options.picture_quality
    if options.picture_format == "JPEG":
        return convert(png, "JPEG", quality)
    return convert(png, "WEBP", quality, lossless=options.webp_lossless)


def _named(values: Mapping[str, Any], image: Image, started: float | None) -> Named:
    found = _MODEL_HASH.search(image.parameters)
    wordings = values.get("wordings", {})
    said = {name: texts[image.picture] for name, texts in wordings.items() if image.picture < len(texts)}
    return Named(
        values={**values, **said}, number=image.picture, seed=image.seed, width=image.width, height=image.height,
        model_hash=found[1] if found else "", content=image.png,
        started=datetime.datetime.fromtimestamp(started).astimezone() if started else None,
    )  # fmt: skip


def _place(options: Options, picture: Named, suffix: str) -> Place:
    stem = file_name(options.file_pattern, picture)
    return Place(
        folder=folder_name(options.folder_pattern, picture),
        stem=stem if stem or options.number_files else str(picture.seed),
        suffix=suffix,
        numbered=options.number_files,
    )
