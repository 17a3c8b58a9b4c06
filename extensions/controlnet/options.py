"""What can be asked of the ControlNet units: each unit's values, and all of them as the extension's options."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, get_type_hints

from pydantic import model_validator

from webui.extension import InvalidRequest, Param, options

from .preprocessors import PREPROCESSORS

UNITS = 3

BALANCED, PROMPT, CONTROL = "Balanced", "My prompt is more important", "ControlNet is more important"
CONTROL_MODES = (BALANCED, PROMPT, CONTROL)
JUST_RESIZE, CROP, FILL = "Just resize", "Crop and resize", "Resize and fill"
RESIZE_MODES = (JUST_RESIZE, CROP, FILL)
BOTH, LOW_RES, HIGH_RES = "Both", "Low res only", "High res only"
PASSES = (BOTH, LOW_RES, HIGH_RES)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One control picture and the network that follows it."""

    enabled: Annotated[bool, Param(label="Enable", help="Whether this unit takes part.")] = False
    image: Annotated[
        str,
        Param(label="Control picture", max_length=32,
              help="Id of the uploaded picture to follow. Empty: in img2img and inpainting the picture itself."),
    ] = ""  # fmt: skip
    preprocessor: Annotated[
        str,
        Param(label="Preprocessor", values=tuple(PREPROCESSORS),
              help="How the control picture is made from the picture; none when it is one already."),
    ] = "none"  # fmt: skip
    model: Annotated[
        str, Param(label="ControlNet", help="A ControlNet or T2I-Adapter of models/controlnets.", max_length=300)
    ] = ""
    weight: Annotated[float, Param(0.0, 2.0, step=0.05, label="Control weight", help="How strongly it steers.")] = 1.0
    start: Annotated[
        float, Param(0.0, 1.0, step=0.01, label="Starting step", help="From which share of the steps on it steers.")
    ] = 0.0
    end: Annotated[
        float, Param(0.0, 1.0, step=0.01, label="Ending step", help="Up to which share of the steps it steers.")
    ] = 1.0
    control_mode: Annotated[
        str,
        Param(label="Control mode", values=CONTROL_MODES,
              help="Who is right where prompt and control picture disagree."),
    ] = BALANCED  # fmt: skip
    resize_mode: Annotated[
        str,
        Param(label="Resize mode", values=RESIZE_MODES,
              help="What happens when the control picture has another shape than the result."),
    ] = CROP  # fmt: skip
    pixel_perfect: Annotated[
        bool,
        Param(label="Pixel perfect", help="The preprocessor works at just the resolution that the result needs."),
    ] = False
    resolution: Annotated[
        int,
        Param(64, 2048, step=8, label="Preprocessor resolution",
              help="Shorter side in pixels at which the preprocessor looks at the picture."),
    ] = 512  # fmt: skip
    threshold_a: Annotated[
        float,
        Param(-1.0, 255.0, step=0.1, label="Threshold A", help="First value of the preprocessor; -1: its own default."),
    ] = -1.0
    threshold_b: Annotated[
        float,
        Param(-1.0, 255.0, step=0.1, label="Threshold B",
              help="Second value of the preprocessor; -1: its own default."),
    ] = -1.0  # fmt: skip
    passes: Annotated[
        str,
        Param(label="Hires fix", values=PASSES, help="Which passes it steers when there is a second one."),
    ] = BOTH  # fmt: skip

    def check(self, number: int) -> None:
        """Raise `InvalidRequest` for what cannot be; whether model and picture exist is found out by the engine."""
        if self.start > self.end:
            raise InvalidRequest(
                "ControlNet unit {number} starts at {start} of the steps and ends at {end}: the end must not come "
                "before the start.",
                number=number,
                start=self.start,
                end=self.end,
            )


def _declared() -> type:
    """A class with the fields of every unit, "unit1_enabled" to "unit3_passes", and a check over them."""

    def check(self: object) -> object:  # pydantic calls it with the made options
        for number, unit in enumerate(units(self), 1):
            unit.check(number)
        return self

    names = {
        f"unit{number}_{field.name}": field for number in range(1, UNITS + 1) for field in dataclasses.fields(Unit)
    }
    hints = get_type_hints(Unit, include_extras=True)
    members: dict[str, object] = {name: field.default for name, field in names.items()}
    members["__annotations__"] = {name: hints[field.name] for name, field in names.items()}
    members |= {"__doc__": "The values of all units.", "__module__": __name__}
    return type("Options", (), {**members, "_check": model_validator(mode="after")(check)})


Options: type = options(_declared())


def units(values: object) -> tuple[Unit, ...]:
    """The units of some `Options`."""
    return tuple(
        Unit(**{field.name: getattr(values, f"unit{number}_{field.name}") for field in dataclasses.fields(Unit)})
        for number in range(1, UNITS + 1)
    )
