"""What a picture file or a text says about how a picture was made, as JSON that a page can show and a form can take.

Which tool writes what is the metadata package's matter; here it is only put into one shape, for known checkpoints.
"""

from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Any

from webui.metadata import PictureMetadata, read_text
from webui.metadata.mapping import Unmapped
from webui.sentences import Sentence

NOT_RECOGNISED = Sentence(
    "No parameters were recognised in this picture. Other tools, or chats and sites, remove them."
)
NO_PARAMETERS = Sentence(
    "No parameters were recognised in this text. It ends with a line like: Steps: 20, Sampler: Euler a, Seed: 1."
)


def picture_info(said: PictureMetadata, checkpoints: Collection[str]) -> dict[str, Any]:
    """Tool, kind, text, request values, all fields and what could not be taken of a picture.

    A checkpoint that is called otherwise here is found by its file's name; one that is not here is left out of the
    values and named. "told" is a sentence when nothing was recognised.
    """
    return _info(said, checkpoints, NOT_RECOGNISED)


def text_info(text: str, checkpoints: Collection[str]) -> dict[str, Any]:
    """The same of an infotext; a text without parameters is a prompt."""
    return _info(read_text(text), checkpoints, NO_PARAMETERS)


def _info(said: PictureMetadata, checkpoints: Collection[str], nothing: Sentence) -> dict[str, Any]:
    values, unmapped = dict(said.values), list(said.unmapped)
    wanted = str(values.pop("checkpoint", "") or said.fields.get("Model", ""))
    found = find_checkpoint(wanted, checkpoints)
    if found:
        values["checkpoint"] = found
    elif wanted:
        why = Sentence("There is no checkpoint of this name here. The one that is chosen stays.")
        unmapped.append(Unmapped("Model", wanted[:200], why))
    return {
        "tool": said.tool,
        "kind": said.kind,
        "parameters": said.parameters,
        "values": values,
        "fields": dict(said.fields),
        "unmapped": [{"name": each.name, "value": each.value, "why": each.why.to_json()} for each in unmapped],
        "told": None if said.tool or values else nothing.to_json(),
    }


def find_checkpoint(name: str, checkpoints: Collection[str]) -> str:
    """The checkpoint of that name, else the only one whose file is called so; "" for none."""
    if name in checkpoints:
        return name
    stem = _stem(name)
    same = [known for known in checkpoints if stem and _stem(known) == stem]
    return same[0] if len(same) == 1 else ""


def _stem(name: str) -> str:
    """ "model" of "folder/Model.safetensors [0123456789]"."""
    last = PurePosixPath(name.replace("\\", "/").split(" [")[0]).name
    return last.casefold().removesuffix(".safetensors").removesuffix(".ckpt")
