"""The models on disk: found, named and described from headers alone, without loading a tensor.

A name is a key of this index and never part of a path. What is wrong with a model is found out here, before a job
runs, and said in one sentence (`Passport.problem`). The parts: `trees` where models lie, `scan` which there are,
`headers` and `pickles` what is in them, `families` what that means, `folders`, `files` and `shelves` their description,
`index` its memory.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from threading import RLock
from types import MappingProxyType

from webui.errors import CheckpointError, Conflict, NoCheckpoint, NotFound, UnknownName
from webui.library.beside import Beside, beside_of, read_beside, write_beside
from webui.library.files import describe_file
from webui.library.folders import describe_folder
from webui.library.headers import IT, check_safetensors, read_json
from webui.library.index import Index, Known
from webui.library.passport import Passport, ShelfItem, Told
from webui.library.scan import SAFETENSORS, SHELVES, TOLD_OF_CHECKPOINTS, Found, search
from webui.library.shelves import describe_item, metadata_of
from webui.library.trees import Tree, extra_trees, own_tree
from webui.library.weighing import Weights, weigh
from webui.sentences import Sentence

__all__ = [
    "SAFETENSORS", "SHELVES", "TOLD_OF_CHECKPOINTS", "Beside", "Library", "Passport", "ShelfItem", "Weights",
    "check_own", "check_safetensors", "metadata_of", "read_json",
]  # fmt: skip

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class _Placed:
    """A model on the disk and the tree it stands in."""

    tree: Tree
    found: Found


class Library:
    """The index of all models. `refresh` looks at the disk, everything else at the last look."""

    def __init__(self, checkpoints_dir: Path, *, extra: Sequence[Path] = (), index: Path | None = None) -> None:
        """`extra`: trees of A1111 and ComfyUI; `index`: file that remembers. Raises `CannotStart` for a wrong tree."""
        self._dir = checkpoints_dir
        self._trees = [own_tree(checkpoints_dir), *extra_trees(extra)]
        self._index = Index(index)
        self._known: dict[str, Known] = {}
        self._passports: Mapping[str, Passport] = {}
        self._shelves: dict[str, Mapping[str, ShelfItem]] = {}
        self._lock = RLock()
        self.refresh()

    def refresh(self) -> None:
        """Look at the checkpoints now, and at each other shelf the next time that somebody asks for it."""
        with self._lock:
            self._shelves.clear()
            self._index.read_hashes()
            placed = self._look(CHECKPOINTS)
            names = _names(placed, lambda found: [found.below])
            told = self._known[CHECKPOINTS]
            passports = {name: self._passport(name, there, told) for name, there in names.items()}
            self._passports = MappingProxyType(passports)

    def passports(self) -> Mapping[str, Passport]:
        """Every checkpoint by name, usable or not: Easel's own in order, then those of the other trees."""
        return self._passports

    def shelf(self, shelf: str, *, again: bool = False) -> Mapping[str, ShelfItem]:
        """What lies on one of `SHELVES` beside the checkpoints, by name; `again`: look at the disk now."""
        with self._lock:
            if again:
                self._shelves.pop(shelf, None)
            if shelf not in self._shelves:
                names = _names(self._look(shelf), _names_of_item)
                told = self._known[shelf]
                self._shelves[shelf] = MappingProxyType(
                    {name: self._item(name, shelf, there, told) for name, there in names.items()}
                )
            return self._shelves[shelf]

    def default(self, preferred: str = "") -> Passport:
        """The preferred checkpoint when it can be used, else the first that can. Raises `NoCheckpoint`."""
        usable = [passport for passport in self._passports.values() if passport.problem is None]
        for passport in usable:
            if passport.name == preferred:
                return passport
        if usable:
            return usable[0]
        if self._passports:
            first = next(iter(self._passports.values()))
            problem = first.problem or ""
            raise CheckpointError("No checkpoint can be used. {name}: {problem}", name=first.name, problem=problem)
        raise NoCheckpoint(str(self._dir))

    def find(self, name: str, preferred: str = "", *, to_train: bool = False) -> Passport:
        """The checkpoint called `name`; "" is the default one. `to_train` finds more than what draws.

        Raises `UnknownName`, `NoCheckpoint`, or `CheckpointError` when its headers show that it cannot be used.
        """
        if not name:
            return self.default(preferred)
        if not self._passports:
            raise NoCheckpoint(str(self._dir))
        if name not in self._passports:
            raise UnknownName("checkpoint", name, self._passports)
        passport = self._passports[name]
        if passport.problem is not None and not (to_train and passport.can_train):
            raise CheckpointError("Checkpoint '{name}' cannot be used: {problem}", name=name, problem=passport.problem)
        return passport

    def keep(self, shelf: str, name: str, beside: Beside) -> None:
        """Write what a person keeps of a model beside it. Raises `NotFound`, `Conflict` or `CannotSaveModel`."""
        model = self.model(shelf, name)
        check_own(model)
        write_beside(beside_of(model.path, model.layout), beside)
        self.look_again(shelf)

    def model(self, shelf: str, name: str) -> Passport | ShelfItem:
        """Whatever lies on a shelf under a name, usable or not. Raises `UnknownName` or `NotFound`."""
        if shelf not in SHELVES:
            raise UnknownName("shelf", shelf, SHELVES)
        models = self.passports() if shelf == CHECKPOINTS else self.shelf(shelf)
        if name not in models:
            raise NotFound("There is no model '{name}' in {shelf}.", name=name[:80], shelf=shelf)
        return models[name]

    def look_again(self, shelf: str) -> None:
        """Look at one shelf now."""
        if shelf == CHECKPOINTS:
            self.refresh()
        else:
            self.shelf(shelf, again=True)

    def _look(self, shelf: str) -> list[_Placed]:
        """Find what is on a shelf now, and describe what has changed since it was described."""
        placed = list(self._search(shelf))
        known = self._known.get(shelf) or self._index.load(shelf)
        now: dict[str, tuple[str, Told]] = {}
        new: dict[str, tuple[str, Told]] = {}
        for there in placed:
            found, stamp = there.found, f"{there.found.stamp};{there.found.beside}"
            if found.path in known and known[found.path][0] == stamp:
                now[found.path] = known[found.path]
            else:
                now[found.path] = new[found.path] = stamp, _describe(found, shelf)
        gone = known.keys() - now.keys()
        self._known[shelf] = now
        if new or gone:
            self._index.store(shelf, new, (path for path in gone if not Path(path).exists()))
        return placed

    def _search(self, shelf: str) -> Iterator[_Placed]:
        """In order of name, Easel's own first; a folder that two trees share is searched once."""
        seen: set[Path] = set()
        for tree in self._trees:
            folders = [(folder, False) for folder in tree.shelves.get(shelf, ())]
            if shelf == "vae":
                folders += [(folder, True) for folder in tree.shelves.get(CHECKPOINTS, ())]
            for folder, vae_beside in folders:
                if vae_beside or folder.resolve() not in seen:
                    seen.add(folder.resolve())
                    found = search(folder, SHELVES[shelf], vae_beside=vae_beside)
                    yield from (_Placed(tree, one) for one in sorted(found, key=lambda one: one.below))

    def _passport(self, name: str, there: _Placed, told: Known) -> Passport:
        fields = _fields(there.found, told)
        defaults = {**fields.pop("defaults", {}), **fields["beside"].defaults}
        return Passport(
            name=name, path=Path(there.found.path), layout=there.found.layout, stamp=there.found.stamp,
            hashes=self._index, is_own=not there.tree.name, preview=_preview(there.found), defaults=defaults,
            **{**fields, "title": fields["title"] or name},
        )  # fmt: skip

    def _item(self, name: str, shelf: str, there: _Placed, told: Known) -> ShelfItem:
        fields = _fields(there.found, told)
        return ShelfItem(
            name=name, path=Path(there.found.path), shelf=shelf, layout=there.found.layout, stamp=there.found.stamp,
            hashes=self._index, is_own=not there.tree.name, preview=_preview(there.found),
            **{**fields, "title": fields["title"] or name, "words": tuple(fields["words"])},
        )  # fmt: skip


def _fields(found: Found, told: Known) -> Told:
    """What was told of a model, as the fields of its passport or card."""
    fields = dict(told[found.path][1])
    weights, beside = fields.pop("weights", {}), fields.pop("beside", {})
    tags = tuple(beside.get("tags", ()))
    return {**fields, "weights": Weights(**weights), "beside": Beside(**{**beside, "tags": tags})}


def _preview(found: Found) -> Path | None:
    return Path(found.preview) if found.preview else None


def check_own(model: Passport | ShelfItem) -> None:
    """Raise `Conflict` for a model in a folder of another tool: nothing is written there."""
    if not model.is_own:
        raise Conflict(
            "'{name}' lies in a folder of another tool, where Easel writes nothing. Copy it into Easel's models "
            "folder first.",
            name=model.name,
        )  # fmt: skip


def _names(placed: Sequence[_Placed], possible: Callable[[Found], list[str]]) -> dict[str, _Placed]:
    """A name for each: the first of its possible ones that is free."""
    named: dict[str, _Placed] = {}
    for there in placed:
        name = next(name for name in _candidates(there, possible(there.found), named) if name not in named)
        named[name] = there
    return named


def _candidates(there: _Placed, own: Sequence[str], named: Mapping[str, _Placed]) -> Iterator[str]:
    """Names for a model, the best first; they never end."""
    name = own[-1]
    for name in own:
        yield name
        if there.tree.name and named[name].tree is not there.tree:
            name = f"{there.tree.name}/{name}"
            yield name
    yield from (f"{name} ({number})" for number in count(2))


def _names_of_item(found: Found) -> list[str]:
    """ "name", "folder/name", "folder/name.suffix"."""
    if found.layout == "folder":
        return [found.below]
    whole = found.below.rpartition(".")[0]
    return list(dict.fromkeys((whole.rpartition("/")[2], whole, found.below)))


def _describe(found: Found, shelf: str) -> Told:
    """What is told of a model, and what a person keeps of it."""
    path, more = Path(found.path), {}
    with suppress(OSError):
        more["weights"] = asdict(weigh(path))
    if found.beside:
        more["beside"] = asdict(read_beside(beside_of(path, found.layout)))
    return {**_told_by_model(found, shelf), **more}


def _told_by_model(found: Found, shelf: str) -> Told:
    """Whatever is wrong with it becomes its problem."""
    path = Path(found.path)
    try:
        if shelf != CHECKPOINTS:
            return describe_item(path, shelf, found.layout)
        return describe_folder(path) if found.layout == "folder" else describe_file(path)
    except CheckpointError as error:
        problem = error.sentence
    except OSError as error:
        reason = error.strerror or str(error)
        problem = (
            Sentence("{name} cannot be read ({reason}). Check its permissions.", name=IT, reason=reason)
            if found.layout == "file"
            else Sentence("a file in it cannot be read ({reason}). Copy the folder again.", reason=reason)
        )
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        reason = str(error)[:200]
        problem = Sentence(
            "a value is missing or wrong in its configuration ({reason}). Copy the folder again.", reason=reason
        )
    except Exception as error:  # whatever it is: one file must not keep all others, nor the server, away
        log.warning("%s was not understood", path, exc_info=True)
        reason = f"{type(error).__name__} {error}"[:200]
        problem = Sentence("{name} cannot be read ({reason}). Copy it again.", name=IT, reason=reason)
    if shelf == CHECKPOINTS:
        return {"title": "", "family": "", "task": "", "prediction_type": "", "native_size": 0, "problem": problem}
    return {"title": "", "words": [], "problem": problem}
