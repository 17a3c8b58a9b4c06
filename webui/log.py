"""Where log lines go: short on the console, complete in a rotating file of the data folder.

Prompts are logged at debug level only, which neither of the two shows unless asked with --verbose.
"""

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE_BYTES = 2 * 2**20
FILES_KEPT = 3
NOISY = ("httpx", "httpcore", "urllib3", "asyncio", "PIL", "diffusers", "transformers", "uvicorn")
"""Libraries whose info lines say nothing to a person."""


def set_up(data_dir: Path | None, *, verbose: bool = False, quiet: bool = False) -> None:
    """Send log lines to the console (`quiet`: warnings only) and, when given, to `data_dir/logs/easel.log`."""
    level = logging.DEBUG if verbose else logging.INFO
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(_ShortFormatter("%(asctime)s %(levelmark)s%(message)s", "%H:%M:%S"))
    console.setLevel(logging.WARNING if quiet else level)
    handlers: list[logging.Handler] = [console]
    if data_dir is not None:
        folder = data_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(
            folder / "easel.log", maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True
        )
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s"))
        handlers.append(file)
    logging.basicConfig(level=level, handlers=handlers, force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


class _ShortFormatter(logging.Formatter):
    """Time and text; the level only when it is not the ordinary one, tracebacks only in the file."""

    def format(self, record: logging.LogRecord) -> str:
        record.levelmark = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        hidden, record.exc_info = record.exc_info, None
        hidden_text, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_info, record.exc_text = hidden, hidden_text
