"""Files of torch.save (.ckpt, .pt, .pth, .bin): what they hold and would call, told without running or unpacking them.

This tells people what a file is; the gate is torch's own `weights_only` when it is loaded. How a pickle is read is the
business of `pickle_reader`.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from webui.errors import CheckpointError
from webui.library.headers import IT, LENGTH, MAX_HEADER, PICKLES, Shapes, disguise, is_text
from webui.library.pickle_reader import Reader, Tensor
from webui.sentences import Sentence

MOST_BYTES = 32 * 2**20
"""Of a pickle without its tensors, and of a zip directory; real ones have about one."""
TAIL = 66 * 2**10
"""A zip directory is found from its end, which has at most 64 KiB of comment behind it."""
MOST_SWELLING = 1.1
"""torch does not compress: what a file unpacks to is hardly larger than the file."""
DEEPEST = 4
"""Tensors are looked for in so many dictionaries inside each other."""
MOST_VALUES = 100_000
"""Tensors and everything that stands beside them: dictionaries may share what is in them, again and again."""
LONGEST_NAME = 1000
"""Letters of a tensor's name with the names of the dictionaries that it stands in."""
STATE_KEYS = ("state_dict", "params_ema", "params", "model_state_dict")
"""Under one of these the tensors stand where training left other things beside them."""

HARMLESS = re.compile(
    r"""(?x) collections\.(OrderedDict|defaultdict) | _codecs\.encode
    | (__builtin__|builtins)\.(set|dict|list|tuple|int|float|bytearray|complex)
    | torch\.(\w+Storage|Size|device|float\d*|bfloat16|half|double|u?int\d+|int|long|short|bool|float8_\w+)
    | torch\.storage\.(Typed|Untyped|_Typed|_Untyped)Storage | torch\.serialization\._get_layout
    | torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state|device_tensor_from_numpy)
    | torch\._tensor\._rebuild_from_type_v2 | torch\.nn\.(parameter\.Parameter|modules\.container\.ParameterDict)
    | numpy(\.core|\._core)?\.multiarray\.(scalar|_reconstruct) | numpy\.(dtype|ndarray)
    | pytorch_lightning\.callbacks\.model_checkpoint\.ModelCheckpoint"""
)
"""What models name when they are loaded; anything else is told as hostile."""


@dataclass(frozen=True)
class Contents:
    """What a file of torch.save holds."""

    shapes: Shapes
    """Tensors inside of dictionaries are called by all their names, with dots between."""
    title: str
    """What stands at its top under "name", as in embeddings; "" otherwise."""


def read_contents(path: Path) -> Contents:
    """Names and shapes of the tensors; nothing at all may be found in a sound file.

    Raises `CheckpointError` for what is hostile, damaged or no such file, and OSError.
    """
    reader = Reader()
    with path.open("rb") as file:
        start = file.read(512)
        _check_start(start, path.suffix)
        try:
            root = reader.read(_pickle_in_zip(file) if start.startswith(b"PK") else _bare_pickle(file))
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, LookupError, TypeError, OverflowError):
            raise CheckpointError(
                "{name} is cut off or damaged: there is no end to what it begins with. Download it again.", name=IT
            ) from None
        except RuntimeError:  # a zip with a password
            raise _not_of_torch() from None
    _check_names(reader.names)
    state = root
    if isinstance(root, dict):
        state = next((root[key] for key in STATE_KEYS if isinstance(root.get(key), dict)), root)
    title = root.get("name") if isinstance(root, dict) else ""
    shapes: dict[str, tuple[int, ...]] = {}
    for count, (name, shape) in enumerate(_values(state, "", DEEPEST)):
        if count > MOST_VALUES or len(name) > LONGEST_NAME:
            raise _not_of_torch()
        if shape is not None:
            shapes[name] = shape
    return Contents(shapes, title if isinstance(title, str) else "")


def _check_names(names: set[str]) -> None:
    if hostile := sorted(name for name in names if not HARMLESS.fullmatch(name)):
        raise CheckpointError(
            "{name} would call {functions} when it is loaded, which no model needs: it may be hostile. Nothing of it "
            "was run; use a .safetensors file of the model.",
            name=IT,
            functions=", ".join(ascii(name)[1:61] for name in hostile[:3]),
        )


def _check_start(start: bytes, suffix: str) -> None:
    if not start:
        raise CheckpointError("{name} is damaged: it is empty. Download it again.", name=IT)
    if start.startswith(PICKLES):
        return
    if start[LENGTH : LENGTH + 1] == b"{" and int.from_bytes(start[:LENGTH], "little") <= MAX_HEADER:
        raise CheckpointError(
            "{name} is a safetensors file called {suffix}. Call it .safetensors.", name=IT, suffix=suffix
        )
    if found := disguise(start) or (Sentence("a text") if is_text(start) else None):
        raise CheckpointError("{name} is {found}, not a model file. Download it again.", name=IT, found=found)
    if not start.strip(b"\0"):
        raise CheckpointError("{name} begins with zeros: a download that did not finish. Load it again.", name=IT)
    raise _not_of_torch()


def _not_of_torch() -> CheckpointError:
    return CheckpointError("{name} is no file that torch has written. Download it again.", name=IT)


def _bare_pickle(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return BytesIO(file.read(MOST_BYTES))


def _pickle_in_zip(file: BinaryIO) -> BinaryIO:
    """The one pickle that torch would load. Raises BadZipFile, or `CheckpointError` for a bomb or a program."""
    size = file.seek(0, 2)
    if _directory_size(file, size) > MOST_BYTES:
        raise zipfile.BadZipFile
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > MOST_SWELLING * size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise CheckpointError(
                "{name} is packed, which torch's own files never are, and unpacks to {size} MB: it may be a bomb. Use "
                "a .safetensors file of the model.",
                name=IT, size=f"{unpacked / 2**20:,.0f}",
            )  # fmt: skip
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise CheckpointError(
                "{name} is a TorchScript program, not weights. Use a .safetensors or .pth file of the model.", name=IT
            )
        pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > MOST_BYTES:
            raise zipfile.BadZipFile
        return BytesIO(archive.read(pickles[0]))


def _directory_size(file: BinaryIO, size: int) -> int:
    """Bytes of a zip file's directory, from its last record (APPNOTE 4.3.14 and 4.3.16). Raises BadZipFile."""
    file.seek(max(0, size - TAIL))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0:
        raise zipfile.BadZipFile
    large = tail.rfind(b"PK\6\6", 0, end)
    if large >= 0:
        return int.from_bytes(tail[large + 40 : large + 48], "little")
    return int.from_bytes(tail[end + 12 : end + 16], "little")


def _values(value: object, name: str, deepest: int) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Everything that stands in dictionaries, by its names; tensors with their shapes."""
    yield name, value.shape if isinstance(value, Tensor) else None
    if isinstance(value, dict) and deepest:
        for key, inner in value.items():
            yield from _values(inner, f"{name}.{key}" if name else str(key), deepest - 1)
