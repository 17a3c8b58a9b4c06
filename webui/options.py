"""What a user may change while the server runs: one JSON file, written atomically, never fatal when broken.

What is decided once at start is in `settings.py`, what belongs to one picture in its request.
"""

import dataclasses
import errno
import json
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict
from pydantic.dataclasses import dataclass

from webui.errors import CannotSaveSettings, UnknownName, UserError
from webui.naming import check_pattern
from webui.params import Param
from webui.requests import construct
from webui.sentences import Sentence

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WebP")
THEMES = ("system", "light", "dark")
LANGUAGES = ("browser", "en", "ko")
"""Of a browser in which nobody has chosen one; "browser" goes by what it asks for."""
LONGEST_PATTERN = 300

SEVERAL: Mapping[str, tuple[str, ...]] = {
    "hidden_tabs": ("img2img", "extras", "gallery", "models", "png_info", "train", "extensions", "system"),
    "quick_settings": (
        *("vae", "clip_skip", "sampler", "schedule", "num_inference_steps", "guidance_scale"),
        *("emphasis", "noise_source", "preview"),
    ),
}
"""Option that holds names -> those it may hold. Neither the first tab nor Settings can be hidden."""


def _several(option: str) -> AfterValidator:
    def check(names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in SEVERAL[option]:
                raise UnknownName("value", name, SEVERAL[option])
        return tuple(dict.fromkeys(names))

    return AfterValidator(check)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", strict=True))
class Options:
    """Every one has an effect that a test shows (docs/settings.md tells which)."""

    default_checkpoint: Annotated[
        str,
        Param(label="Default checkpoint", max_length=300, suggestions="checkpoints",
              help="What draws where nothing else is chosen. Empty: the first one that can be used."),
    ] = ""  # fmt: skip
    model_memory: Annotated[
        int,
        Param(0, 90, step=5, label="Memory for models",
              help="Percent of the free memory that may hold checkpoints for later. 0: only the one in use."),
    ] = 50  # fmt: skip

    picture_format: Annotated[
        str, Param(label="File format", values=FORMATS, help="What finished pictures are saved as. Older ones stay.")
    ] = "PNG"
    picture_quality: Annotated[
        int,
        Param(1, 100, step=1, label="Quality", help="Of JPEG and WebP. Higher is larger and closer to what was drawn."),
    ] = 80
    webp_lossless: Annotated[
        bool,
        Param(label="WebP without loss", help="WebP keeps every pixel as it was drawn; the quality then says nothing."),
    ] = False
    write_metadata: Annotated[
        bool,
        Param(label="Write parameters into pictures",
              help="Without them a file tells nobody how it was made, neither other people nor this gallery."),
    ] = True  # fmt: skip
    folder_pattern: Annotated[
        str,
        Param(label="Folders", max_length=LONGEST_PATTERN,
              help="Below the outputs folder, e.g. [date]/[model_name]. Empty: no folders."),
        AfterValidator(check_pattern),
    ] = "[date]"  # fmt: skip
    number_files: Annotated[
        bool, Param(label="Number files", help="Names begin with a number that counts up in each folder: 00001-…")
    ] = True
    file_pattern: Annotated[
        str,
        Param(label="File names", max_length=LONGEST_PATTERN,
              help="E.g. [seed]-[prompt_words]. A name that is taken gets -1, -2 … at its end."),
        AfterValidator(check_pattern),
    ] = "[seed]"  # fmt: skip

    live_previews: Annotated[
        bool, Param(label="Live previews", help="Off: no job draws any, whatever its form says, which saves time.")
    ] = True
    preview_every: Annotated[
        int,
        Param(1, 50, step=1, label="Preview every so many steps",
              help="1 shows each step. With larger numbers fewer are drawn, which saves time with the Full preview."),
    ] = 1  # fmt: skip
    strip_megabytes: Annotated[
        int,
        Param(0, 10_000, step=50, label="Room for steps (MB)",
              help="Previews of a finished picture's steps are kept, to look back at and branch from. 0: none."),
    ] = 500  # fmt: skip

    theme: Annotated[
        str, Param(label="Colours", values=THEMES, help="For browsers in which nobody has chosen any.")
    ] = "system"
    language: Annotated[
        str, Param(label="Language", values=LANGUAGES, help="For browsers in which nobody has chosen one.")
    ] = "browser"
    hidden_tabs: Annotated[
        tuple[str, ...],
        Param(label="Hidden tabs", help="They are not in the row of tabs; the palette (Ctrl+K) still opens them."),
        _several("hidden_tabs"),
    ] = ()
    quick_settings: Annotated[
        tuple[str, ...],
        Param(
            label="Quick settings",
            help="What stands beside the checkpoint at the top, for txt2img and img2img at once.",
        ),
        _several("quick_settings"),
    ] = ("vae", "clip_skip")
    title_progress: Annotated[
        bool, Param(label="Progress in the window's title", help="Shows how far a job is while another window is open.")
    ] = True
    sound: Annotated[
        bool,
        Param(label="Sound when a job ends",
              help="Where nobody has switched it on or off. Played while the page is not looked at."),
    ] = False  # fmt: skip

    count_tokens: Annotated[
        bool, Param(label="Count tokens", help="Shows above each prompt how many tokens it takes.")
    ] = True
    weight_step: Annotated[
        float,
        Param(0.01, 1.0, step=0.01, label="Step of weights", help="By how much Ctrl+↑ and Ctrl+↓ change (word:1.1)."),
    ] = 0.1
    tag_weight_step: Annotated[
        float,
        Param(0.01, 1.0, step=0.01, label="Step of weights in <…>", help="The same for <lora:name:0.8>."),
    ] = 0.05
    send_seed: Annotated[
        bool, Param(label="Send the seed along", help="When a picture is sent to a form, its seed goes with it.")
    ] = True
    send_size: Annotated[
        bool,
        Param(label="Send the size along", help="When a picture is sent to a form, its width and height go with it."),
    ] = True

    def for_page(self) -> dict[str, Any]:
        """As JSON; the page's script has it before it asks anything."""
        return dataclasses.asdict(self)


GROUPS: Mapping[str, tuple[str, ...]] = {
    "saving": (
        *("picture_format", "picture_quality", "webp_lossless", "write_metadata"),
        *("folder_pattern", "number_files", "file_pattern"),
    ),
    "models": ("default_checkpoint", "model_memory"),
    "previews": ("live_previews", "preview_every", "strip_megabytes"),
    "page": ("theme", "language", "hidden_tabs", "quick_settings", "title_progress", "sound"),
    "prompts": ("count_tokens", "weight_step", "tag_weight_step"),
    "sending": ("send_seed", "send_size"),
}  # fmt: skip
"""Heading `option_group.<name>` of the Settings tab -> the options below it."""


class OptionsFile:
    """The options and the file they live in; safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._on_change: Callable[[Options], None] = lambda options: None
        self.warning: Sentence | None = None
        """What was wrong with the file at start, for the page."""
        self.current = self._load()

    def follow(self, on_change: Callable[[Options], None]) -> None:
        """Call it with the options after each change."""
        self._on_change = on_change

    def change(self, **values: Any) -> Options:
        """Replace the named options and save. The file holds the old or the new state, never half of one.

        Raises `InvalidRequest`, `UnknownName` or `CannotSaveSettings`; then nothing has changed.
        """
        with self._lock:
            changed = _built({**dataclasses.asdict(self.current), **values})
            content = json.dumps(dataclasses.asdict(changed), ensure_ascii=False, indent=1).encode("utf-8", "replace")
            try:
                write_atomically(self._path, content)
            except OSError as error:
                raise CannotSaveSettings(self._path, error) from error
            self.current = changed
        self._on_change(changed)
        return changed

    def _load(self) -> Options:
        try:
            stored = json.loads(self._path.read_text("utf-8-sig"))
        except FileNotFoundError:
            return Options()
        except (OSError, ValueError, RecursionError) as error:
            self._set_aside(error)
            return Options()
        try:
            return _built(stored)
        except (UserError, TypeError) as error:
            self._set_aside(error)
            return _built(_usable(stored))

    def _set_aside(self, error: Exception) -> None:
        broken = self._path.with_name(f"{self._path.stem}.broken-{int(time.time())}.json")
        try:
            shutil.copyfile(self._path, broken)
            kept = Sentence("It was kept as {name}.", name=broken.name)
        except OSError:
            kept = Sentence("It could not be copied.")
        self.warning = Sentence(
            "The options file could not be read ({reason}); defaults stand in for what is wrong in it. {kept}",
            reason=str(error)[:200], kept=kept,
        )  # fmt: skip
        log.warning("%s", self.warning)


def _built(values: Mapping[str, Any]) -> Options:
    """JSON has no tuples. Raises `InvalidRequest`, `UnknownName`, or `TypeError` for what is no mapping."""
    if not isinstance(values, dict):
        raise TypeError("it holds no options")
    return construct(
        Options, {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    )


def _usable(stored: object) -> dict[str, Any]:
    """The options of a file that are right each for itself."""
    usable: dict[str, Any] = {}
    for name, value in (stored if isinstance(stored, dict) else {}).items():
        try:
            _built({name: value})
        except UserError:
            continue
        usable[name] = value
    return usable


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to disk, rename over it, flush the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")  # of this call alone
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can do that."""
    if os.name == "nt":  # Windows cannot open a folder for fsync
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network and shared folders that cannot do it
            raise
    finally:
        os.close(descriptor)
