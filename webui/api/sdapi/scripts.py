"""`script_name` and `script_args`: AUTOMATIC1111's selectable scripts, as runs of the scripts that there are here.

A script is called by its title, upper and lower case alike. Its arguments are those of AUTOMATIC1111 in their order, or
one object with the options' own names.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from webui.api.sdapi.waiting import LOOK_AGAIN
from webui.app import App
from webui.errors import InvalidRequest, JobFailed, UnknownName
from webui.scripts.records import RunState
from webui.scripts.runs import Asked
from webui.sentences import Sentence

ORDERS: Mapping[str, tuple[str, ...]] = {
    "x/y/z plot": (
        *("x_axis", "x_values", "x_values+", "y_axis", "y_values", "y_values+", "z_axis", "z_values", "z_values+"),
        *("draw_legend", "", "include_sub_grids", "keep_open_seeds", "vary_seeds_x", "vary_seeds_y", "vary_seeds_z"),
        *("margin", ""),
    ),
    "prompt matrix": ("at_start", "different_seeds", "prompt", "joined_by", "margin"),
    "prompts from file or textbox": ("iterate_seeds", "same_seed", "insert_at", "text"),
    "loopback": ("loops", "final_strength", "curve", ""),
    "sd upscale": ("", "overlap", "upscaler", "scale"),
}
"""Title -> our options in the order of AUTOMATIC1111's arguments. "" has none here; "x_values+" is a list of choices
that stands for "x_values" where it is not empty."""
SILENT: tuple[Any, ...] = (None, False, "", "None", [])
"""What an argument may be that nothing here answers to."""
NO_SCRIPT = (None, "", "None")
FINAL = frozenset(state.value for state in RunState if state.is_final)


def selectable(app: App, kind: str) -> dict[str, Mapping[str, Any]]:
    """Scripts for this kind of picture by their titles in lower case, as JSON."""
    return {told["title"].casefold(): told for told in app.runs.scripts if kind in told["kinds"]}


async def drawn(
    app: App, kind: str, values: Mapping[str, Any], styles: Sequence[str], script: str, arguments: Sequence[Any]
) -> dict[str, Any]:
    """Make a run and wait for it: as JSON of a job with all its pictures, grids first.

    Raises `UnknownName`, `InvalidRequest`, or `JobFailed` when nothing at all was made.
    """
    known = await asyncio.to_thread(selectable, app, kind)
    told = known.get(script.casefold()) or next((each for each in known.values() if each["name"] == script), None)
    if told is None:
        raise UnknownName("script", script, known)
    options = options_of(told["title"], [option["name"] for option in told["options"]], arguments)
    asked = Asked(script=told["name"], kind=kind, values=values, options=options, styles=styles)
    run = await asyncio.to_thread(app.runs.submit, asked)
    ended = await _finished(app, run.id)
    pictures = [*ended["pictures"], *(picture for cell in ended["cells"] for picture in cell["pictures"])]
    if not pictures:
        error = ended["error"] or next((cell["error"] for cell in ended["cells"] if cell.get("error")), None)
        raise JobFailed(Sentence.from_json(error) if error else Sentence("The script has made no picture."))
    return {**ended, "pictures": pictures}


def options_of(title: str, names: Sequence[str], arguments: Sequence[Any]) -> dict[str, Any]:
    """Named options from positional arguments; null asks for the default. Raises `InvalidRequest`."""
    if len(arguments) == 1 and isinstance(arguments[0], Mapping):
        return dict(arguments[0])
    order = ORDERS.get(title.casefold(), tuple(names))
    if len(arguments) > len(order):
        raise InvalidRequest(
            "The script '{title}' takes {most} arguments: {names}.",
            title=title, most=len(order), names=", ".join(name or "-" for name in order),
        )  # fmt: skip
    options: dict[str, Any] = {}
    for name, value in zip(order, arguments, strict=False):
        if not name:
            if value not in SILENT and value is not True:
                raise InvalidRequest(
                    "Easel has nothing for {name} = {value}. Leave the field out.",
                    name=f"script_args of {title}", value=repr(value)[:80],
                )  # fmt: skip
        elif name.endswith("+"):
            if value and not isinstance(value, list):
                raise InvalidRequest("The script '{title}' takes a list for {name}, not {value}.", title=title,
                                     name=name.removesuffix("+"), value=repr(value)[:80])  # fmt: skip
            options |= {name.removesuffix("+"): ", ".join(map(_quoted, value))} if value else {}
        elif value is not None:
            options[name] = _axis(value) if name.endswith("_axis") else value
    return options


def _quoted(choice: Any) -> str:
    """One of several values in a line; in quotes where it holds what separates them."""
    text = str(choice)
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n') else text


def _axis(value: Any) -> Any:
    """The axes' numbers are the places in a list that is another one in every program."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value == 0:
            return ""
        raise InvalidRequest("Name the axis of the plot; number {number} is another one elsewhere.", number=value)
    return value


async def _finished(app: App, run_id: str) -> dict[str, Any]:
    subscription = app.hub.subscribe()
    try:
        while True:
            run = await asyncio.to_thread(app.runs.one, run_id)
            if run["state"] in FINAL:
                return run
            try:
                async with asyncio.timeout(LOOK_AGAIN):
                    async for frame in subscription:
                        if frame["kind"] == "run" and frame["run"] == run_id:
                            break
            except TimeoutError:
                continue
    finally:
        subscription.close()
