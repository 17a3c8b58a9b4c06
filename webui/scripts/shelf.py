"""Which scripts there are, what they can be told, and a script made ready to be asked. Carries nothing out."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from webui.errors import ExtensionError, InvalidRequest, UnknownName, UserError
from webui.extensions.desk import ExtensionDesk
from webui.extensions.manifest import Folder
from webui.extensions.modules import described
from webui.extensions.probe import script_of
from webui.params import Parameter, parameters
from webui.requests import construct
from webui.script import ScriptContext, ScriptHooks, possible

log = logging.getLogger(__name__)

AnyScript = ScriptHooks[Any]
"""A script; its options are of a class that only it knows."""


@dataclass(frozen=True)
class Known:
    """The script of an enabled extension."""

    folder: Folder
    script: type[AnyScript]
    options: type

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def title(self) -> str:
        return self.folder.manifest.title


class ScriptShelf:
    """Safe to use from any thread."""

    def __init__(self, desk: ExtensionDesk, context: Callable[[bool, bool], ScriptContext]) -> None:
        """`context` makes what a script is given; it is told whether the seed is open, and whether it is for a plan."""
        self._desk, self._context = desk, context
        self._lock = threading.Lock()
        self._known: tuple[object, dict[str, Known]] = (None, {})

    def all(self) -> Mapping[str, Known]:
        """Every script by its extension's name. One that cannot be imported is left out, and its card says why."""
        enabled = {name: folder for name, folder in self._desk.shelf.enabled().items() if folder.has("script")}
        key = tuple((name, folder.digest) for name, folder in enabled.items())
        with self._lock:
            if key != self._known[0]:
                known = {name: self._import(folder) for name, folder in enabled.items()}
                self._known = key, {name: script for name, script in known.items() if script is not None}
            return self._known[1]

    def find(self, name: str) -> Known:
        """Raises `UnknownName`."""
        if name not in self.all():
            raise UnknownName("script", name, self.all())
        return self.all()[name]

    def make(
        self, name: str, kind: str, options: Mapping[str, Any], *, open_seed: bool, is_plan: bool = False
    ) -> AnyScript:
        """The script with its options. Raises `UnknownName`, `InvalidRequest`, or `ExtensionError` for a broken one."""
        known = self.find(name)
        if kind not in known.script.kinds:
            raise InvalidRequest(
                "{title} takes requests of these kinds: {kinds}, not {kind}.",
                title=known.title, kinds=", ".join(known.script.kinds), kind=kind[:80],
            )  # fmt: skip
        told: Any = construct(known.options, options)
        try:
            return known.script(told, self._context(open_seed, is_plan))
        except UserError:
            raise
        except Exception as error:
            raise self.guard(name, error) from error

    def listed(self) -> list[dict[str, Any]]:
        """Every script as JSON: kinds that it takes, its options, and their possible values for each kind.

        One that fails when it is asked is left out, and its card says why.
        """
        every = [self._told(known) for known in list(self.all().values())]
        return [told for told in every if told is not None]

    def _told(self, known: Known) -> dict[str, Any] | None:
        try:
            return self._json(known)
        except Exception as error:  # a script is somebody else's program
            log.exception("script %s could not be listed", known.name)
            self.guard(known.name, error)
            return None

    def guard(self, name: str, error: Exception) -> ExtensionError:
        """What is told when a script ends with an error that is none of ours; its card tells it too."""
        title = self.all()[name].title if name in self.all() else name
        told = ExtensionError(
            "{title} ended with {error}. The pictures that it has made stay.", title=title, error=described(error)
        )
        self._desk.failed(name, told.sentence)
        return told

    def _import(self, folder: Folder) -> Known | None:
        if self._desk.imported(folder, "script") is None:
            return None
        try:
            return Known(folder, *script_of(folder))
        except ExtensionError as error:
            self._desk.failed(folder.name, error.sentence)
            return None

    def _json(self, known: Known) -> dict[str, Any]:
        script = known.script(known.options(), self._context(False, True))
        return {
            "name": known.name,
            "title": known.title,
            "description": known.folder.manifest.description,
            "kinds": list(known.script.kinds),
            "options": [_option_json(option, known.script) for option in parameters(known.options).values()],
            "choices": {kind: script.choices(kind) for kind in known.script.kinds},
        }


def _option_json(option: Parameter, script: type[AnyScript]) -> dict[str, Any]:
    param = option.param
    return {
        "name": option.name,
        "type": option.type.__name__,
        "default": option.default,
        "minimum": param.minimum,
        "maximum": param.maximum,
        "step": param.step,
        "label": param.label,
        "help": param.help,
        "max_length": param.max_length,
        "choices": list(possible(option)) or None,
        "can_be_filled": option.name in script.fillable,
    }
