"""Puts together what scripts are given out of what the server has: fields, names, styles, pictures."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from webui.errors import UnknownName
from webui.extensions.desk import ExtensionDesk
from webui.inputs import Inputs
from webui.library import Library
from webui.params import Parameter, parameters
from webui.prompts import PromptDesk
from webui.requests import REQUESTS
from webui.script import ScriptContext
from webui.scripts.conductor import keep_picture, open_png

NOT_YET = "0" * 32
"""Stands for a picture that is not uploaded or kept yet, in the plan of a run."""


class Contexts:
    """Makes a context when a script is made; what it tells is as of the moment when the script asks."""

    def __init__(
        self,
        library: Library,
        prompts: PromptDesk,
        inputs: Inputs,
        extensions: ExtensionDesk,
        upscalers: Callable[[], Sequence[str]],
    ) -> None:
        self._library, self._prompts, self._inputs = library, prompts, inputs
        self._extensions, self._upscalers = extensions, upscalers

    def __call__(self, seed_is_open: bool, is_plan: bool) -> ScriptContext:
        """In a plan no picture is kept: what would be made of it is counted and no more."""
        return ScriptContext(
            fields=fields_of,
            option_types=self._extensions.option_types(),
            names=self._names,
            styled=self._prompts.styled,
            open_picture=lambda name: open_png(self._inputs.read(name)),
            keep_picture=(lambda _: NOT_YET) if is_plan else partial(keep_picture, self._inputs),
            seed_is_open=seed_is_open,
        )

    def _names(self, what: str) -> Sequence[str]:
        match what:
            case "checkpoints":
                return [name for name, passport in self._library.passports().items() if passport.problem is None]
            case "upscalers":
                return self._upscalers()
            case "styles":
                self._prompts.styles.refresh()
                return list(self._prompts.styles.styles)
            case "vae":
                return list(self._library.shelf("vae"))
        raise UnknownName("shelf", what, ("checkpoints", "vae", "upscalers", "styles"))


def fields_of(kind: str) -> Mapping[str, Parameter]:
    """Raises `UnknownName`."""
    if kind not in REQUESTS:
        raise UnknownName("kind of job", kind, REQUESTS)
    return parameters(REQUESTS[kind])
