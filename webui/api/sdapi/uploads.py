"""Pictures that come as base64 inside JSON, into the folder of inputs."""

import base64
import binascii
import io

from PIL import Image

from webui.errors import UnusableInput, UnusablePicture
from webui.inputs import InputPicture, Inputs
from webui.pictures import read_mask

HARD = 128
"""Grey from which a mask counts as painted."""


def receive(inputs: Inputs, encoded: str) -> InputPicture:
    """Keep the picture. Raises `UnusableInput`."""
    with inputs.upload() as path:
        path.write_bytes(decoded(encoded))
        return inputs.receive(path)


def is_blank(inputs: Inputs, encoded: str) -> bool:
    """Whether a mask paints nothing. Raises `UnusableInput`."""
    with inputs.upload() as path:
        path.write_bytes(decoded(encoded))
        try:
            return read_mask(path).getbbox() is None
        except UnusablePicture as error:
            raise UnusableInput("This file cannot be used as a mask. {reason}", reason=error.sentence) from error


def receive_mask(inputs: Inputs, encoded: str, size: tuple[int, int], *, is_hard: bool) -> str:
    """Keep a mask and give its id: the alpha channel where it has one, else its brightness, at `size`."""
    with inputs.upload() as path:
        path.write_bytes(decoded(encoded))
        try:
            mask = read_mask(path)
        except UnusablePicture as error:
            raise UnusableInput("This file cannot be used as a mask. {reason}", reason=error.sentence) from error
    if mask.size != size:
        mask = mask.resize(size, Image.Resampling.NEAREST if is_hard else Image.Resampling.LANCZOS)
    if is_hard:
        mask = mask.point(lambda grey: 255 if grey > HARD else 0)
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    with inputs.upload() as path:
        path.write_bytes(buffer.getvalue())
        return inputs.receive(path).id


def decoded(encoded: str) -> bytes:
    """The bytes of "data:image/png;base64,…" or of plain base64. Addresses are refused: nothing is fetched."""
    if encoded[:8].lower().startswith(("http:", "https:")):
        raise UnusableInput("Pictures are not fetched from addresses. Send the picture itself, as base64.")
    if encoded.startswith("data:"):
        encoded = encoded.partition(",")[2]
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)  # many programs break it into lines
    except (binascii.Error, ValueError) as error:
        raise UnusableInput("A picture is not base64: {reason}.", reason=str(error)) from error
