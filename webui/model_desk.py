"""What a person does with the models on the shelves: look through them, keep notes, pictures and defaults, make others
of them, throw them away. Reads headers only; what a model is, is known to the library.
"""

import dataclasses
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.errors import CannotSaveModel, CheckpointError, Conflict, InvalidRequest, UnknownName
from webui.library import SAFETENSORS, SHELVES, Beside, Library, Passport, ShelfItem, check_own, metadata_of
from webui.library.scan import PREVIEWS
from webui.model_hashing import Hashing
from webui.model_requests import ConvertModel, MergeModels, ModelRequest
from webui.model_trash import ModelTrash
from webui.options import write_atomically
from webui.params import parameters
from webui.pictures import read_picture
from webui.requests import REQUESTS, build

log = logging.getLogger(__name__)

Model = Passport | ShelfItem
PICTURE_KINDS = ("txt2img", "img2img", "inpaint")
NO_DEFAULTS = (
    *("checkpoint", "image", "mask", "extensions", "prompt", "negative_prompt", "hires_prompt"),
    *("hires_negative_prompt", "seed", "variation_seed", "branch_step", "branch_from"),
)
"""Fields that a checkpoint recommends nothing for."""
LONGEST_NAME = 200
"""Bytes of what is made, ending included: file systems take 255, and while it is written it has a longer name."""
PREVIEW_SIDE = 768
"""Longest side of a picture that is kept beside a model, in pixels."""
LICENCES = ("LICENSE*", "LICENCE*", "license*", "licence*")
LONGEST_LICENCE = 64 * 2**10
NO_PICTURE = "0" * 32
"""Stands for a picture while values are checked."""

SORTS: Mapping[str, Callable[[Model], tuple[object, ...]]] = {
    "name": lambda model: (model.name.lower(),),
    "newest": lambda model: (-model.weights.modified, model.name.lower()),
    "largest": lambda model: (-model.weights.bytes, model.name.lower()),
    "family": lambda model: (model.family or "~", model.name.lower()),
}


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is looked for; an empty field narrows nothing."""

    text: str = ""
    """Words that all occur in name, title, trigger words, tags or notes, capitals being the same."""
    shelf: str = ""
    family: str = ""
    tag: str = ""
    broken: bool = False
    """Only those with a problem."""
    sort: str = "name"


class ModelDesk:
    """Safe to use from any thread."""

    def __init__(
        self, library: Library, models_dir: Path, changed: Callable[[], None], picture: Callable[[str], Path]
    ) -> None:
        """`changed` is called when models or what is kept of them are others; `picture`: file of the gallery's id."""
        self._library, self._changed, self._picture = library, changed, picture
        self._models_dir = models_dir
        self.hashing = Hashing()
        self.trash = ModelTrash(models_dir)

    # Looking.

    def search(self, query: Query, offset: int, limit: int) -> dict[str, Any]:
        """A page of what is found as JSON, with the numbers of models by shelf and the families and tags there are.

        Raises `UnknownName`.
        """
        if query.shelf and query.shelf not in SHELVES:
            raise UnknownName("shelf", query.shelf, SHELVES)
        if query.sort not in SORTS:
            raise UnknownName("order", query.sort, SORTS)
        every = {shelf: list(self._models(shelf)) for shelf in SHELVES}
        chosen = every[query.shelf] if query.shelf else [model for models in every.values() for model in models]
        words = query.text.lower().split()
        found = sorted((model for model in chosen if _fits(model, query, words)), key=SORTS[query.sort])
        return {
            "total": len(found),
            "models": [self.row(model) for model in found[offset : offset + limit]],
            "shelves": {shelf: len(models) for shelf, models in every.items()},
            "families": sorted({model.family for models in every.values() for model in models if model.family}),
            "tags": sorted({tag for models in every.values() for model in models for tag in model.beside.tags}),
            "folder": str(self._models_dir),
        }

    def _models(self, shelf: str) -> Iterator[Model]:
        found: Mapping[str, Model] = self._library.passports() if shelf == "checkpoints" else self._library.shelf(shelf)
        yield from found.values()

    def model(self, shelf: str, name: str) -> Model:
        """Raises `UnknownName` or `NotFound`."""
        return self._library.model(shelf, name)

    @staticmethod
    def row(model: Model) -> dict[str, Any]:
        """What a card shows, as JSON."""
        preview = None
        if model.preview is not None:
            with suppress(OSError):
                preview = model.preview.stat().st_mtime_ns // 1_000_000
        return {
            "shelf": model.shelf,
            "name": model.name,
            "title": model.title,
            "layout": model.layout,
            "kind": "checkpoint" if isinstance(model, Passport) else model.kind,
            "family": model.family,
            "task": model.task if isinstance(model, Passport) else "",
            "bytes": model.weights.bytes,
            "precision": model.weights.precision,
            "modified": model.weights.modified,
            "tags": list(model.beside.tags),
            "preview": preview,
            "is_own": model.is_own,
            "problem": None if model.problem is None else model.problem.to_json(),
        }

    def passport(self, shelf: str, name: str) -> dict[str, Any]:
        """Everything that is known of a model without loading it, as JSON. Raises `UnknownName` or `NotFound`."""
        model = self.model(shelf, name)
        told: dict[str, Any] = {
            **self.row(model),
            "file": self._place(model),
            "numbers": model.weights.numbers,
            "has_ema": model.weights.has_ema,
            "sha256": model.known_sha256,
            "notes": model.beside.notes,
            "kept_defaults": dict(model.beside.defaults),
            "metadata": dict(metadata_of(model.path)) if model.layout == "file" else {},
            "licence": licence_of(model),
            "words": [],
        }
        if isinstance(model, Passport):
            more = ("prediction_type", "zero_snr", "native_size", "can_train")
            return {**told, **{name: getattr(model, name) for name in more}, "defaults": dict(model.defaults)}
        return {**told, "words": list(model.words), "alias": model.alias}

    def _place(self, model: Model) -> str:
        if model.path.is_relative_to(self._models_dir):
            return model.path.relative_to(self._models_dir).as_posix()
        return str(model.path)

    # Keeping.

    def keep_notes(self, shelf: str, name: str, notes: str, tags: Sequence[str]) -> None:
        """Raises `NotFound`, `InvalidRequest`, `Conflict` or `CannotSaveModel`."""
        own = self.model(shelf, name).beside
        cleaned = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
        self._keep(shelf, name, dataclasses.replace(own, notes=notes.strip(), tags=cleaned))

    def keep_defaults(self, shelf: str, name: str, values: Mapping[str, Any]) -> None:
        """Values that forms and requests begin with where they name none, for this checkpoint; {} forgets them.

        They hold over those of a folder's own easel.json, and are kept beside the model (`library/beside.py`). Raises
        `InvalidRequest` or `UnknownName` for a value that is impossible, `NotFound`, `Conflict`, `CannotSaveModel`.
        """
        model = self.model(shelf, name)
        if not isinstance(model, Passport):
            raise InvalidRequest("Only checkpoints have values that pictures begin with.")
        self._check_values(values)
        self._keep(shelf, name, dataclasses.replace(model.beside, defaults=dict(values)))

    def _check_values(self, values: Mapping[str, Any]) -> None:
        allowed = [name for kind in PICTURE_KINDS for name in parameters(REQUESTS[kind]) if name not in NO_DEFAULTS]
        for name in values:
            if name not in allowed:
                raise UnknownName("field", name, dict.fromkeys(allowed))
        for kind in PICTURE_KINDS:
            fields = parameters(REQUESTS[kind])
            needed = {field: NO_PICTURE for field in ("image", "mask") if field in fields}
            build(kind, {**needed, **{name: value for name, value in values.items() if name in fields}})
        vae = values.get("vae", "")
        if vae and vae not in self._library.shelf("vae"):
            raise UnknownName("VAE", vae, self._library.shelf("vae"))

    def _keep(self, shelf: str, name: str, beside: Beside) -> None:
        self._library.keep(shelf, name, beside)
        self._changed()

    def set_preview(self, shelf: str, name: str, picture_id: str | None) -> None:
        """Show a picture of the gallery on a model's card; None: no more.

        Raises `NotFound`, `Conflict`, `UnusablePicture` or `CannotSaveModel`.
        """
        model = self.model(shelf, name)
        check_own(model)
        base = model.path if model.layout == "folder" else model.path.with_suffix("")
        path = base.with_name(f"{base.name}{PREVIEWS[0]}")
        try:
            if picture_id is None:
                path.unlink(missing_ok=True)
            else:
                write_atomically(path, _small(self._picture(picture_id)))
        except OSError as error:
            raise CannotSaveModel(str(path.parent), error.strerror or str(error)) from error
        self._look_again(shelf)

    def throw_away(self, shelf: str, name: str) -> str:
        """Move a model with everything beside it into the trash; the id to bring it back.

        Raises `NotFound`, `Conflict` or `CannotSaveModel`.
        """
        model = self.model(shelf, name)
        check_own(model)
        thrown = self.trash.put(model)
        log.info("model %s of %s is in the trash now", name, shelf)
        self._look_again(shelf)
        return thrown

    def bring_back(self, trashed: str) -> None:
        """Raises `NotFound`, `Conflict` when something has its name by now, or `CannotSaveModel`."""
        self._look_again(self.trash.restore(trashed))

    def _look_again(self, shelf: str) -> None:
        self._library.look_again(shelf)
        self._changed()

    # Making others of them.

    def settle(self, kind: str, values: Mapping[str, Any]) -> ModelRequest:
        """A request for a merge or conversion with nothing left open: its models are there, its result's name is free.

        Raises `InvalidRequest`, `UnknownName`, `NotFound`, `CheckpointError` or `Conflict`.
        """
        request = build(kind, values)
        if isinstance(request, MergeModels):
            is_folder = self._check_merge(request)
            shelf = "checkpoints"
        else:
            assert isinstance(request, ConvertModel)
            is_folder, shelf = self._check_conversion(request), request.shelf
        ending, folder = "" if is_folder else ".safetensors", self._models_dir / shelf
        automatic = _cut(request.automatic_name, LONGEST_NAME - len(ending) - len(" 9999"))
        free = (name for name in _numbered(automatic) if not (folder / f"{name}{ending}").exists())
        name = request.name.strip(" .") or next(free)
        if len(f"{name}{ending}".encode()) > LONGEST_NAME:
            raise InvalidRequest("The name '{name}' is too long for a file. Shorten it.", name=name)
        if (folder / f"{name}{ending}").exists():
            raise Conflict("There is a model '{name}' already. Choose another name.", name=name)
        return dataclasses.replace(request, name=name)

    def _check_merge(self, request: MergeModels) -> bool:
        """Whether a folder comes out."""
        passports = [self._library.find(name, to_train=True) for name in request.models]
        families = dict.fromkeys(passport.family for passport in passports)
        if len(families) > 1:
            raise CheckpointError(
                "Checkpoints of different families ({families}) cannot be merged. Choose some of one family.",
                families=", ".join(family or "?" for family in families),
            )
        if request.baked_vae and request.baked_vae not in self._library.shelf("vae"):
            raise UnknownName("VAE", request.baked_vae, self._library.shelf("vae"))
        return passports[0].layout == "folder"

    def _check_conversion(self, request: ConvertModel) -> bool:
        """Whether a folder comes out."""
        model = self.model(request.shelf, request.source)
        if request.shelf == "checkpoints":
            self._library.find(request.source, to_train=True)
        elif request.layout != "as it is" and request.layout != model.layout:
            raise InvalidRequest("Only checkpoints can be made into a folder or one file.")
        is_same = request.layout in ("as it is", model.layout)
        is_safe = model.layout == "folder" or model.path.suffix in SAFETENSORS
        if is_same and is_safe and request.precision == "as it is" and request.ema == "keep":
            raise InvalidRequest("Nothing would be converted. Choose a precision, a layout, or what is done with EMA.")
        return (model.layout if is_same else request.layout) == "folder"


def licence_of(model: Model) -> str:
    """Text of the licence file that lies in a model's folder, or beside a file under its name; "" without one."""
    if model.layout == "folder":
        found = [path for pattern in LICENCES for path in sorted(model.path.glob(pattern))]
    else:
        found = [path for pattern in LICENCES for path in sorted(model.path.parent.glob(pattern))
                 if path.stem.lower().endswith(model.path.stem.lower())]  # fmt: skip
        found += [model.path.with_suffix(".license.txt"), model.path.with_suffix(".license")]
    for path in found:
        with suppress(OSError), path.open("rb") as file:
            return file.read(LONGEST_LICENCE).decode("utf-8", errors="replace")
    return ""


def _fits(model: Model, query: Query, words: Sequence[str]) -> bool:
    if query.family and model.family != query.family:
        return False
    if query.tag and query.tag not in model.beside.tags:
        return False
    if query.broken and model.problem is None:
        return False
    if not words:
        return True
    more = () if isinstance(model, Passport) else (model.alias, *model.words)
    text = "\n".join((model.name, model.title, model.beside.notes, *model.beside.tags, *more)).lower()
    return all(word in text for word in words)


def _cut(name: str, most: int) -> str:
    """So much of it as `most` bytes hold."""
    return name.encode()[:most].decode("utf-8", "ignore").strip(" .")


def _numbered(name: str) -> Iterator[str]:
    """ "name", "name 2", "name 3", …"""
    yield name
    yield from (f"{name} {number}" for number in range(2, 10_000))


def _small(path: Path) -> bytes:
    """The picture without metadata. Raises `UnusablePicture`."""
    picture = read_picture(path, least=PREVIEW_SIDE)
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
