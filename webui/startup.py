"""What has to be right before a server can start: an address, a free port, folders that can be written to.

Starts nothing and knows nothing of the app, so that `doctor` can ask the same questions.
"""

import errno
import ipaddress
import os
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

from webui.errors import CannotStart
from webui.settings import Settings


def is_exposed(host: str) -> bool:
    """Whether other machines can reach a server bound to `host`; a name that is not "localhost" may be anything."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host != "localhost"


def url_of(settings: Settings) -> str:
    """Address of the page as a person would type it."""
    host = settings.host
    if host in ("0.0.0.0", "::", ""):
        host = _own_address() if settings.listen else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def bind(settings: Settings) -> socket.socket:
    """Take the port before anything slow happens. Raises `CannotStart` saying who has it and what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise CannotStart(
            "'{host}' is not an address of this machine ({reason}). Change --host.",
            host=settings.host,
            reason=str(error),
        ) from error
    listener = socket.socket(family, kind, protocol)
    # On Windows SO_REUSEADDR would let two servers share a port.
    if sys.platform == "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # From here on a browser that comes early waits for its page, and a second Easel finds the port taken.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _port_taken(settings, error) from error
    return listener


def _port_taken(settings: Settings, error: OSError) -> CannotStart:
    if error.errno == errno.EACCES:
        return CannotStart(
            "The system does not let you open port {port}. Use one above 1023: --port 7860.", port=settings.port
        )
    other = settings.port + 1 if settings.port < 65535 else 7860
    if is_easel(settings):
        return CannotStart(
            "Another Easel already runs at {address}. Open that page, or start with another port: --port {other}.",
            address=url_of(settings),
            other=other,
        )
    return CannotStart(
        "Port {port} on {host} cannot be used ({reason}). Start with another one: --port {other}.",
        port=settings.port,
        host=settings.host,
        reason=error.strerror or str(error),
        other=other,
    )


def is_easel(settings: Settings) -> bool:
    """Whether what answers on the port is an Easel; its gate names itself in every answer, refusals too."""
    request = urllib.request.Request(f"{url_of(settings)}/api/v1/status")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=1) as answer:
            return bool(answer.headers.get("Server") == "Easel")
    except urllib.error.HTTPError as error:
        return error.headers.get("Server") == "Easel"
    except (OSError, ValueError):
        return False


def check_folders(settings: Settings) -> None:
    """Make the folders that are written to and try writing. Raises `CannotStart` naming the flag that helps."""
    for folder, flag in ((settings.data_dir, "--data-dir"), (settings.outputs_dir, "--outputs-dir")):
        if problem := not_writable(folder):
            raise CannotStart(
                "{folder} cannot be written to ({reason}). Choose another folder with {flag}.",
                folder=str(folder),
                reason=problem,
                flag=flag,
            )


def not_writable(folder: Path) -> str | None:
    """What keeps files from being written to `folder`, or None. Makes the folder when there is none."""
    probe = folder / f".easel-{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"easel")
        probe.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _own_address() -> str:
    """The address other machines of the network most likely see; nothing is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: choosing a route for UDP sends no packet
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
