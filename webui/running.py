"""Where a server of a data folder can be reached: a file beside its lock, for Easel's own commands on the same machine.

The file is there as long as the server runs; after a crash it is left over, and whoever reads it finds nobody there.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webui.client import Client
from webui.errors import UserError
from webui.settings import Settings

FILE = "server.json"


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """Say in the data folder where this server is, for as long as the block lasts. Only its owner may read it."""
    path = settings.data_dir / FILE
    told = {
        "address": f"http://{_loopback(settings)}:{settings.port}",
        "token": settings.token if settings.listen else "",
        "models": str(settings.models_dir),
        "process": os.getpid(),
    }
    path.unlink(missing_ok=True)  # rights of an older file would stay
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(told, file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_server(data_dir: Path, models_dir: Path) -> Client | None:
    """A client of the server that runs on this data folder with these models, if there is one that answers."""
    try:
        told = json.loads((data_dir / FILE).read_text("utf-8"))
        if told["models"] != str(models_dir):
            return None
        client = Client(told["address"], token=told["token"])
        client.health()
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
    return client


def _loopback(settings: Settings) -> str:
    """The server's own machine is where this is read."""
    if settings.host in ("0.0.0.0", ""):
        return "127.0.0.1"
    host = "::1" if settings.host == "::" else settings.host
    return f"[{host}]" if ":" in host else host
