"""Styles: named texts that are put around a prompt, in AUTOMATIC1111's styles.csv."""

import csv
import io
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType

from webui.errors import CannotSaveStyles, InvalidRequest, UnknownName
from webui.options import write_atomically
from webui.prompt.limits import check_characters, check_length, told
from webui.sentences import Sentence

log = logging.getLogger(__name__)

PLACE = "{prompt}"
"""Where in a style the prompt goes; without it the style follows the prompt."""
LONGEST_NAME = 200
MAX_FILE = 16 * 2**20
"""Bytes. Ten thousand long styles fit many times; what is larger is another file by mistake."""


@dataclass(frozen=True)
class Style:
    """A row of styles.csv; the fields are its columns."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


def apply_styles(prompt: str, texts: Iterable[str]) -> str:
    """The prompt with each style text put around it or after it, in order.

    Raises `InvalidRequest` as soon as it grows longer than a prompt can be.
    """
    for text in texts:
        if places := text.count(PLACE):
            # Counted before it is built: thirty styles that hold their place twice would fill any memory.
            check_characters(len(text) + places * (len(prompt) - len(PLACE)))
            prompt = text.replace(PLACE, prompt)
        else:
            prompt = ", ".join(words for words in (prompt.strip(), text.strip()) if words)
    return check_length(prompt)


def take_style(prompt: str, text: str) -> str | None:
    """The prompt before the style text was applied to it; None when it was not."""
    prompt, text = prompt.strip(), text.strip()
    if PLACE in text:
        before, _, after = text.partition(PLACE)
        is_there = prompt.startswith(before) and prompt.endswith(after) and len(prompt) >= len(before) + len(after)
        return prompt[len(before) : len(prompt) - len(after)] if is_there else None
    return prompt.removesuffix(text).removesuffix(", ") if prompt.endswith(text) else None


def take_styles(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[str, str, tuple[str, ...]]:
    """Both prompts without the styles that can be found in both, and the names of these in the order of applying."""
    left = {style.name: style for style in styles if _says_something(style)}
    found: list[str] = []
    while last := _last_applied(prompt, negative_prompt, left.values()):
        name, prompt, negative_prompt = last
        found.append(name)
        del left[name]
    return prompt, negative_prompt, tuple(reversed(found))


def _last_applied(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[str, str, str] | None:
    """Name of the first style found around both prompts, and the prompts without it."""
    for style in styles:
        positive, negative = take_style(prompt, style.prompt), take_style(negative_prompt, style.negative_prompt)
        if positive is not None and negative is not None:
            return style.name, positive, negative
    return None


def _says_something(style: Style) -> bool:
    """Whether it leaves a trace to find."""
    return any(text.replace(PLACE, "").strip() for text in (style.prompt, style.negative_prompt))


class StylesFile:
    """The styles and the file they live in, which other programs may change too. Broken, it is never fatal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.styles: Mapping[str, Style] = {}
        self.warning: Sentence | None = None
        """What was wrong with the file at the last look."""
        self.refresh()

    def refresh(self) -> None:
        """Look at the file again."""
        self.warning = None
        try:
            self.styles = MappingProxyType({style.name: style for style in _rows(self._content())})
        except FileNotFoundError:
            self.styles = {}
        except (OSError, ValueError, csv.Error) as error:
            self.styles = {}
            self.warning = Sentence(
                "The styles in {path} cannot be read ({reason}). It must be a CSV file in UTF-8 with the columns "
                "{columns}.",
                path=str(self._path),
                reason=str(error)[:200],
                columns=", ".join(_COLUMNS),
            )
            log.warning("%s", self.warning)

    def _content(self) -> bytes:
        if self._path.stat().st_size > MAX_FILE:
            raise ValueError(f"it is larger than {MAX_FILE // 2**20} MB")
        return self._path.read_bytes()

    def find(self, names: Sequence[str]) -> tuple[Style, ...]:
        """The styles of these names, in this order. Raises `UnknownName`."""
        for name in names:
            if name not in self.styles:
                raise UnknownName("style", name, told(self.styles))
        return tuple(self.styles[name] for name in names)

    def save(self, style: Style) -> None:
        """Add the style, or replace the one of its name. Raises `InvalidRequest`, `CannotSaveStyles`."""
        check_length(style.prompt)
        check_length(style.negative_prompt)
        if not style.name.strip() or style.name.startswith("#") or len(style.name) > LONGEST_NAME:
            raise InvalidRequest(
                "A style needs a name of {most} characters at most that does not begin with #.", most=LONGEST_NAME
            )
        with self._lock:
            self.refresh()
            self._write({**self.styles, style.name: style})

    def delete(self, name: str) -> None:
        """Raises `UnknownName`, `CannotSaveStyles`."""
        with self._lock:
            self.refresh()
            self.find([name])
            self._write({key: style for key, style in self.styles.items() if key != name})

    def _write(self, styles: Mapping[str, Style]) -> None:
        """The file holds the old or the new styles, never half of them; the old ones are kept beside it as .bak."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, _COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(style) for style in styles.values())
        # A file that could not be read is kept under a name that the next save does not take again.
        kept = f"{self._path.name}.bak" if self.warning is None else f"{self._path.stem}.broken-{int(time.time())}.csv"
        try:
            if self._path.exists():
                write_atomically(self._path.with_name(kept), self._path.read_bytes())
            write_atomically(self._path, text.getvalue().encode("utf-8-sig"))
        except (OSError, UnicodeEncodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise CannotSaveStyles(str(self._path), reason) from error
        self.refresh()


_COLUMNS = [field.name for field in fields(Style)]


def _rows(content: bytes) -> list[Style]:
    """Raises `ValueError` or `csv.Error` when it is no table of styles."""
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True)
    if reader.fieldnames and "name" not in reader.fieldnames:
        raise ValueError("there is no column 'name'")
    styles = []
    for row in reader:
        name = row["name"] or ""
        if name and not name.startswith("#"):
            # "text" is how the oldest files called the prompt.
            styles.append(Style(name, row.get("prompt") or row.get("text") or "", row.get("negative_prompt") or ""))
    return styles
