"""What a person keeps beside a model, in NAME.easel.json: notes, tags, values that its pictures begin with.

The one place for it, for checkpoints and everything else: a file beside the file or folder, so that it moves and is
copied with the model. `Library.keep` writes it; values come back as `Passport.defaults`, over those of a folder's own
easel.json, and from there into every form and request that names none.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.errors import CannotSaveModel, InvalidRequest
from webui.library.headers import read_neighbour
from webui.library.scan import BESIDE
from webui.options import write_atomically

LONGEST_NOTES = 20_000
MOST_TAGS = 50
LONGEST_TAG = 100


@dataclass(frozen=True)
class Beside:
    """Everything that a person has kept of one model."""

    notes: str = ""
    tags: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of a request by name; of checkpoints only."""

    @property
    def is_empty(self) -> bool:
        return not (self.notes or self.tags or self.defaults)


def beside_of(path: Path, layout: str) -> Path:
    """The file: `dream.easel.json` for `dream.safetensors`, and for the folder `dream`."""
    return path.with_name(f"{path.name if layout == 'folder' else path.stem}{BESIDE}")


def read_beside(path: Path) -> Beside:
    """What the file holds; what is not of the right shape in it is left out, as any tool may have written it."""
    told = read_neighbour(path)
    notes, tags, defaults = told.get("notes"), told.get("tags"), told.get("defaults")
    return Beside(
        notes=notes[:LONGEST_NOTES] if isinstance(notes, str) else "",
        tags=tuple(tag[:LONGEST_TAG] for tag in tags if isinstance(tag, str))[:MOST_TAGS]
        if isinstance(tags, list)
        else (),
        defaults=defaults if isinstance(defaults, dict) else {},
    )


def write_beside(path: Path, beside: Beside) -> None:
    """Replace the file, or remove it when nothing is left to keep. Raises `CannotSaveModel` or `InvalidRequest`."""
    if len(beside.notes) > LONGEST_NOTES:
        raise InvalidRequest("Notes have {most} characters at most.", most=f"{LONGEST_NOTES:,}")
    if len(beside.tags) > MOST_TAGS or any(not 0 < len(tag) <= LONGEST_TAG for tag in beside.tags):
        raise InvalidRequest(
            "A model has at most {most} tags of 1 to {longest} characters.", most=MOST_TAGS, longest=LONGEST_TAG
        )
    try:
        if beside.is_empty:
            path.unlink(missing_ok=True)
            return
        write_atomically(path, json.dumps(dataclasses.asdict(beside), ensure_ascii=False, indent=1).encode())
    except (OSError, UnicodeError) as error:
        raise CannotSaveModel(str(path.parent), getattr(error, "strerror", None) or str(error)) from error
