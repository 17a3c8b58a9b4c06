"""A picture's parameters inside its file: AUTOMATIC1111's infotext for everyone, our JSON for us, other tools' ways.

`read` looks into PNG, JPEG and WebP files and says which tool made a picture and what of it a request here can take;
`infotext` and `encode_*` write. The files' side is `containers` and `exif`, the text format `infotext`, the step to a
request `mapping`, and each tool has a reader of its own. Format facts: docs/compatibility.md. Knows no torch.
"""

from webui.metadata.infotext import generation_parameters, infotext
from webui.metadata.mapping import Unmapped
from webui.metadata.reading import PictureMetadata, read, read_text
from webui.metadata.webuis import parse_infotext
from webui.metadata.writing import convert, encode_jpeg, encode_png, encode_webp

__all__ = [
    "PictureMetadata",
    "Unmapped",
    "convert",
    "encode_jpeg",
    "encode_png",
    "encode_webp",
    "generation_parameters",
    "infotext",
    "parse_infotext",
    "read",
    "read_text",
]
