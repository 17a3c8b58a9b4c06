"""Checkpoints that are single files, described from their headers and what lies beside them under their name.

A `.yaml` of the LDM kind or a `.json` beside the file says how it predicts where the header cannot: Stable Diffusion 2
and 2-v have the same tensors.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from webui.errors import CheckpointError
from webui.library.families import KINDS, Nature, default_size, examine, native_size_of
from webui.library.headers import IT, MAX_JSON, Header, Shapes, read_header, read_neighbour, read_number
from webui.library.passport import Told
from webui.library.pickles import read_contents
from webui.library.scan import SAFETENSORS, SHELF_OF_KIND
from webui.sentences import Sentence

EPSILON_TASKS = ("inpaint", "depth")
"""Stable Diffusion 2 for these tasks predicts noise at 512 px, whatever its base does."""
DRAWN_TASKS = ("text", "inpaint", "instruct-pix2pix")
"""What the engine can do with what a checkpoint takes beside noise."""
STEPS_OF_SD2_BASE = 875_000
"""global_step in the file of Stable Diffusion 2 base, which predicts noise; diffusers goes by it too."""
PREDICTIONS = {"v": "v_prediction", "v_prediction": "v_prediction", "eps": "epsilon", "epsilon": "epsilon"}
"""How other tools name a prediction type -> how it is called here."""


def describe_file(path: Path) -> Told:
    """The passport's fields. Raises `CheckpointError` for what no pictures can be made with, or OSError."""
    if path.suffix == ".gguf":
        raise CheckpointError("{name} is a GGUF file, which Easel does not read. Take the .safetensors file.", name=IT)
    header = read_header(path) if path.suffix in SAFETENSORS else None
    shapes = header.shapes if header else read_contents(path).shapes
    nature = examine(shapes)
    check_kind(nature, "checkpoints", len(shapes))
    if nature.lacks:
        _refuse_parts(nature)
    told = _told(path, header)
    prediction_type = _prediction_type(path, header, shapes, nature, told)
    said = told.get("size", "")
    native_size = native_size_of(int(said) if said.isdecimal() else 0, nature.family, prediction_type)
    return {
        "title": "",
        "family": nature.family,
        "task": nature.task,
        "prediction_type": prediction_type,
        "zero_snr": "ztsnr" in shapes,
        "native_size": native_size,
        "defaults": default_size(native_size),
        "problem": _undrawn(nature) if shapes else None,
        "can_train": False,
    }


def check_kind(nature: Nature, shelf: str, count: int) -> None:
    """Raise `CheckpointError` when something lies on a shelf where it does not belong; `count` of its tensors."""
    if nature.kind == "newer":
        raise CheckpointError(
            "{name} is {found}, which Easel does not draw with. Take a checkpoint of Stable Diffusion 1, 2 or XL.",
            name=IT, found=nature.called or "",
        )  # fmt: skip
    if not nature.kind and count and shelf == "checkpoints":
        raise CheckpointError("{name} holds {count} tensors, but no model that Easel knows.", name=IT, count=count)
    right = SHELF_OF_KIND.get(nature.kind, shelf)
    if right != shelf:
        raise CheckpointError(
            "{name} is {found}. Move it to {folder}.", name=IT, found=KINDS[nature.kind], folder=f"models/{right}"
        )
    if nature.kind == "denoiser":
        raise CheckpointError(
            "{name} is {found}, without text encoder and VAE. Take the complete checkpoint.",
            name=IT, found=KINDS[nature.kind],
        )  # fmt: skip
    if nature.kind in KINDS and nature.kind not in SHELF_OF_KIND:
        raise CheckpointError("{name} is {found}, for which Easel has no use.", name=IT, found=KINDS[nature.kind])


def _refuse_parts(nature: Nature) -> None:
    missing = Sentence("text encoder") if "text encoder" in nature.lacks else Sentence("VAE")
    raise CheckpointError("{name} lacks its {part}. Take the complete checkpoint.", name=IT, part=missing)


def _undrawn(nature: Nature) -> Sentence | None:
    if nature.task in DRAWN_TASKS:
        return None
    return Sentence(
        "{name} is a checkpoint for the task '{task}', for which Easel has no use yet. Take one for {known}.",
        name=IT, task=nature.task, known=", ".join(DRAWN_TASKS),
    )  # fmt: skip


def _told(path: Path, header: Header | None) -> Mapping[str, str]:
    """What is said about the model outside of its tensors: "prediction" and "size", as far as it is."""
    metadata = header.metadata if header else {}
    said = {
        "prediction": metadata.get("modelspec.prediction_type", ""),
        "size": metadata.get("modelspec.resolution", "").partition("x")[0],
        **_told_in_yaml(path.with_suffix(".yaml")),
    }
    beside = read_neighbour(path.with_suffix(".json"))
    said |= {"prediction": str(beside["prediction_type"])} if "prediction_type" in beside else {}
    return {key: value for key, value in said.items() if value}


def _told_in_yaml(path: Path) -> Mapping[str, str]:
    """One line of an LDM configuration; it is not parsed, as nothing else in it matters here."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON).decode("utf-8", errors="replace")
    except OSError:
        return {}
    if "ldm." not in text and "sgm." not in text:
        return {}
    found = re.search(r"^\s*parameterization:\s*[\"']?(\w+)", text, re.MULTILINE)
    is_v = "VScaling" in text or "v_parameterization" in text
    return {"prediction": found[1] if found else "v" if is_v else "eps"}


def _prediction_type(path: Path, header: Header | None, shapes: Shapes, nature: Nature, told: Mapping[str, str]) -> str:
    if not shapes:
        return ""
    if "v_pred" in shapes:
        return "v_prediction"
    if said := PREDICTIONS.get(told.get("prediction", "").lower()):
        return said
    if nature.family != "sd2" or nature.task in EPSILON_TASKS:
        return "epsilon"
    is_base = header is not None and read_number(path, header, "global_step") == STEPS_OF_SD2_BASE
    return "epsilon" if is_base else "v_prediction"
