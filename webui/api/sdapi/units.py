"""ControlNet's units as AUTOMATIC1111's API takes them, into the options of our extension. Knows no HTTP and no jobs.

Names, defaults and older spellings are those of that extension; what Easel has nothing for is taken at the value that
does nothing and refused at any other, by name.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from webui.errors import InvalidRequest, UnknownName

NOTHING = (None, "", "None", "none")

FIELDS: Mapping[str, str] = {
    "enabled": "enabled",
    "module": "preprocessor",
    "weight": "weight",
    "guidance_start": "start",
    "guidance_end": "end",
    "guidance": "end",
    "pixel_perfect": "pixel_perfect",
}
"""Their name -> ours, where the values mean the same."""

TRANSLATED = ("image", "input_image", "mask", "mask_image", "model", "control_mode", "resize_mode", "processor_res",
              "threshold_a", "threshold_b", "hr_option")  # fmt: skip

WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "low_vram": (None, False, True),
    "lowvram": (None, False, True),
    "guessmode": (None, False, 0),
    "is_ui": (None, False, True),
    "use_preview_as_input": (None, False),
    "generated_image": (None,),
    "save_detected_map": (None, True),
    "inpaint_crop_input_image": (None, True, False),
    "input_mode": (None, "simple"),
    "batch_images": (None, "", []),
    "batch_image_dir": (None, "", []),
    "output_dir": (None, ""),
    "loopback": (None, False),
    "advanced_weighting": (None,),
    "effective_region_mask": (None,),
    "pulid_mode": (None, "Fidelity"),
    "union_control_type": (None, "Unknown"),
    "ipadapter_input": (None,),
    "animatediff_batch": (None, False),
}
"""Fields that nothing here answers to -> their values that ask for nothing, or for what happens anyway."""

CONTROL_MODES = ("Balanced", "My prompt is more important", "ControlNet is more important")
RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill")
OLD_RESIZE_MODES: Mapping[str, str] = {
    "scale to fit (inner fit)": "Crop and resize",
    "inner fit (scale to fit)": "Crop and resize",
    "envelope (outer fit)": "Resize and fill",
    "outer fit (shrink to fit)": "Resize and fill",
}
PASSES = ("Both", "Low res only", "High res only")
RESOLUTION = 512


def options_of(
    units: Sequence[Any],
    models: Collection[str],
    most: int,
    keep: Callable[[str], str],
    is_blank: Callable[[str], bool],
) -> dict[str, Any]:
    """The extension's options for these units, "unit1_enabled" and so on.

    `models` are the ControlNets that there are, `most` how many units; `keep` takes a picture as base64 and gives the
    id it was kept under; `is_blank` says whether a mask holds nothing. Raises `InvalidRequest` or `UnknownName`.
    """
    given = [unit for unit in units if isinstance(unit, Mapping) and unit.get("enabled", True)]
    if any(not isinstance(unit, Mapping) for unit in units):
        raise InvalidRequest("A unit of ControlNet is an object with fields by name.")
    if len(given) > most:
        raise InvalidRequest("There are {most} units of ControlNet, not {count}.", most=most, count=len(given))
    return {
        f"unit{number}_{name}": value
        for number, unit in enumerate(given, 1)
        for name, value in _unit(unit, models, keep, is_blank).items()
    }


def model_named(called: Any, models: Collection[str]) -> str:
    """Our name of a ControlNet that they call "name [hash]", with or without suffix. Raises `UnknownName`."""
    name = str(called)
    bare = name.rpartition(" [")[0] if name.endswith("]") else name
    for known in models:
        if known in (name, bare) or known.rpartition(".")[0] in (name, bare):
            return known
    raise UnknownName("ControlNet", name, models)


def _unit(
    unit: Mapping[str, Any], models: Collection[str], keep: Callable[[str], str], is_blank: Callable[[str], bool]
) -> dict[str, Any]:
    _refuse_the_impossible(unit)
    values: dict[str, Any] = {ours: unit[theirs] for theirs, ours in FIELDS.items() if unit.get(theirs) is not None}
    values["enabled"] = True
    values["preprocessor"] = "none" if unit.get("module") in NOTHING else unit["module"]
    values["model"] = model_named(unit.get("model"), models)
    image, mask = _pictures(unit)
    if mask is not None and not is_blank(mask):
        raise InvalidRequest("A ControlNet unit has no mask of its own here: use the mask of the picture.")
    if image is not None:
        values["image"] = keep(image)
    values["control_mode"] = _one_of("control_mode", unit.get("control_mode", 0), CONTROL_MODES)
    values["resize_mode"] = _one_of("resize_mode", unit.get("resize_mode", 1), RESIZE_MODES, OLD_RESIZE_MODES)
    values["passes"] = _one_of(
        "hr_option", str(unit.get("hr_option") or "Both").removeprefix("HiResFixOption."), PASSES
    )
    resolution = unit.get("processor_res")
    values["resolution"] = RESOLUTION if resolution in (None, -1) else resolution
    for name in ("threshold_a", "threshold_b"):
        values[name] = _threshold(unit.get(name, -1))
    return values


def _refuse_the_impossible(unit: Mapping[str, Any]) -> None:
    for name, value in unit.items():
        if name in FIELDS or name in TRANSLATED:
            continue
        if name not in WITHOUT_EFFECT:
            raise UnknownName("field", f"controlnet.{name}", (*FIELDS, *TRANSLATED))
        if not any(value is harmless or value == harmless for harmless in WITHOUT_EFFECT[name]):
            raise InvalidRequest(
                "Easel has nothing for {name} = {value}. Leave the field out.", name=name, value=repr(value)[:80]
            )


def _pictures(unit: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Picture and mask as base64; both may come as one object."""
    image: Any = unit.get("image") if unit.get("image") not in NOTHING else unit.get("input_image")
    mask: Any = unit.get("mask") if unit.get("mask") not in NOTHING else unit.get("mask_image")
    if isinstance(image, Mapping):
        image, mask = image.get("image"), mask or image.get("mask")
    for picture in (image, mask):
        if picture not in NOTHING and not isinstance(picture, str):
            raise InvalidRequest("A picture of a ControlNet unit is base64.")
    return (None if image in NOTHING else image), (None if mask in NOTHING else mask)


def _one_of(name: str, value: Any, choices: Sequence[str], old: Mapping[str, str] | None = None) -> str:
    """By number or by name, upper and lower case alike. Raises `UnknownName`."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return choices[value]
    known = {choice.casefold(): choice for choice in choices} | dict(old or {})
    if str(value).casefold() not in known:
        raise UnknownName("value", f"{name}: {value}", choices)
    return known[str(value).casefold()]


def _threshold(value: Any) -> Any:
    """-1 is the preprocessor's own value, and stands there for everything out of range."""
    return (
        value
        if isinstance(value, int | float) and -1 <= value <= 255
        else -1
        if isinstance(value, int | float)
        else value
    )
