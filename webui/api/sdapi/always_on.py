"""`alwayson_scripts`: what AUTOMATIC1111's clients tell extensions, into fields and options of ours.

ControlNet's units, the built-in scripts that are fields of a request here, and the options of every extension that is
enabled, by its name or title: `{"args": [{"option": value}]}`, or the values alone in the order of its options.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from webui.api.sdapi.units import options_of
from webui.errors import InvalidRequest, UnknownName
from webui.params import parameters

CONTROLNET = "controlnet"

FIELDS: Mapping[str, tuple[str, ...]] = {
    "soft inpainting": (
        *("soft_inpainting", "soft_schedule_bias", "soft_preservation", "soft_contrast"),
        *("soft_mask_influence", "soft_difference_threshold", "soft_difference_contrast"),
    ),
    "sampler": ("num_inference_steps", "sampler", "schedule"),
    "seed": ("seed", "", "variation_seed", "variation_strength", "seed_resize_width", "seed_resize_height"),
    "refiner": ("", "refiner", "refiner_switch_at"),
}
"""Scripts that are built in there -> our fields, in the order of their arguments; "" has none here."""

FLAGS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "seed": (1, ("variation_seed", "variation_strength", "seed_resize_width", "seed_resize_height")),
    "refiner": (0, ("refiner", "refiner_switch_at")),
}
"""Script -> the place of its checkbox ("Extra", "Refiner"), and the fields that have no effect while it is off."""


class AlwaysOn:
    """What can be told here, and what it becomes."""

    def __init__(
        self,
        types: Mapping[str, type],
        titles: Mapping[str, str],
        models: Sequence[str],
        keep: Callable[[str], str],
        is_blank: Callable[[str], bool],
        checkpoint: Callable[[str], str],
    ) -> None:
        """`types`: options by extension; `titles`: name by title; `checkpoint` finds our name of one, "" for none; the
        others are those of `units.options_of`."""
        self._types = types
        self._names = {**{name.casefold(): name for name in types}, **{t.casefold(): n for t, n in titles.items()}}
        self._models, self._keep, self._is_blank = models, keep, is_blank
        self._checkpoint = checkpoint

    @property
    def titles(self) -> list[str]:
        """In lower case, as `scripts` lists them."""
        return sorted({*self._names, *FIELDS})

    def values(self, scripts: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of a request, `extensions` among them. Raises `InvalidRequest`, or `UnknownName` with all titles."""
        values: dict[str, Any] = {}
        extensions: dict[str, Mapping[str, Any]] = {}
        for title, script in scripts.items():
            arguments = _arguments(title, script)
            called = title.casefold()
            if called in FIELDS:
                values |= self._built_in(title, called, arguments)
            elif called in self._names:
                extensions[self._names[called]] = self._options(title, self._names[called], arguments)
            elif arguments and arguments != [False]:  # [False] is "off" of scripts that nobody has here
                raise UnknownName("script", title, self.titles)
        return {**values, **({"extensions": extensions} if extensions else {})}

    def _built_in(self, title: str, called: str, arguments: Sequence[Any]) -> dict[str, Any]:
        """Fields of a script that is a part of the request here; those behind its flag only where that is not off."""
        found = _in_order(title, FIELDS[called], arguments)
        if called in FLAGS:
            place, needing = FLAGS[called]
            if len(arguments) > place and arguments[place] is False:
                found = {name: value for name, value in found.items() if name not in needing}
        if isinstance(refiner := found.get("refiner"), str):
            found["refiner"] = self._checkpoint(refiner)
        return found

    def _options(self, title: str, name: str, arguments: Sequence[Any]) -> Mapping[str, Any]:
        if name == CONTROLNET:
            most = sum(option.endswith("_enabled") for option in parameters(self._types[name]))
            return options_of(arguments, self._models, most, self._keep, self._is_blank)
        if len(arguments) == 1 and isinstance(arguments[0], Mapping):
            return dict(arguments[0])
        return _in_order(title, tuple(parameters(self._types[name])), arguments)


def _arguments(title: str, script: Any) -> list[Any]:
    found = script.get("args", []) if isinstance(script, Mapping) else script
    if isinstance(found, Mapping):
        return [found]
    if not isinstance(found, list):
        raise InvalidRequest("The script '{title}' takes a list of arguments: args.", title=title[:80])
    return found


def _in_order(title: str, names: Sequence[str], arguments: Sequence[Any]) -> dict[str, Any]:
    """Arguments may be fewer than there are; null asks for the default."""
    if len(arguments) > len(names):
        raise InvalidRequest(
            "The script '{title}' takes {most} arguments: {names}.",
            title=title[:80], most=len(names), names=", ".join(name or "-" for name in names),
        )  # fmt: skip
    return {name: value for name, value in zip(names, arguments, strict=False) if name and value is not None}
