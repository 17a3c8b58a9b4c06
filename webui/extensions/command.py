"""`launch.py extensions …`: the same decisions as on the page, as lines for a terminal. Whoever sits there is trusted.

A running server notices by itself.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webui.errors import CannotStart
from webui.extensions.desk import ExtensionDesk, shelf_of
from webui.extensions.sources import is_address
from webui.settings import Settings

ACTIONS = ("list", "install", "review", "requirements", "enable", "disable", "update", "remove")


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument(
        "what", nargs="?", default="", help="name of an extension; for install a folder, .zip file or git address"
    )
    parser.add_argument("--yes", action="store_true", help="requirements: install them after they have been shown")
    parser.add_argument("--data-dir", type=Path, default=Settings.data_dir, help="folder of queue, options and logs")
    parser.add_argument("--extensions-dir", type=Path, default=Settings.extensions_dir, help="folder of extensions")


def run(flags: argparse.Namespace) -> Iterator[str]:
    """Do it and tell about it. Raises `UserError`."""
    action, what = str(flags.action), str(flags.what)
    settings = Settings(data_dir=flags.data_dir.absolute(), extensions_dir=flags.extensions_dir.absolute())
    desk = ExtensionDesk(shelf_of(settings), settings.models_dir, settings.data_dir / "extensions")
    if action == "list":
        yield from _listed(desk)
        return
    if not what:
        wanted = "a folder, .zip file or git address" if action == "install" else "the name of an extension"
        raise CannotStart("extensions {action} needs {wanted}.", action=action, wanted=wanted)
    match action:
        case "install":
            yield from _review(desk.install(what if is_address(what) else Path(what).absolute()))
        case "review":
            yield from _review(desk.review(what))
        case "update":
            yield from _review(desk.update(what))
        case "enable":
            desk.enable(what)
            yield f"{what} is enabled."
        case "disable":
            desk.disable(what)
            yield f"{what} is disabled."
        case "remove":
            desk.remove(what)
            yield f"{what} is removed."
        case "requirements":
            yield from _requirements(desk, what, yes=flags.yes)


def _listed(desk: ExtensionDesk) -> Iterator[str]:
    cards = desk.cards()
    if not cards:
        yield f"There are no extensions in {desk.shelf.folder}."
    for card in cards:
        yield f"{card['name']:<24} {card['version']:<10} {_state(card):<10} {card['title']}"
        if card["problem"] is not None:
            yield f"{'':<24} {card['problem']['text']}"


def _state(card: Mapping[str, Any]) -> str:
    return "enabled" if card["enabled"] else "disabled"


def _review(review: Mapping[str, Any]) -> Iterator[str]:
    yield f"{review['title']} {review['version']} ({review['name']}), {_state(review)}"
    yield review["description"]
    told = {
        "hooks": review["hooks"],
        "prompt tags": review["tags"],
        "asks for": review["asks"],
        "may reach for": review["hints"],
        "needs": review["requirements"],
        "missing": review["missing"],
        "changed": review["changes"],
        "files": review["files"],
        "sha-256": [review["digest"]],
    }
    yield from (f"  {name + ':':<15}{', '.join(values)}" for name, values in told.items() if values)
    if not review["enabled"]:
        yield f"It runs once you enable it: launch.py extensions enable {review['name']}"


def _requirements(desk: ExtensionDesk, name: str, *, yes: bool) -> Iterator[str]:
    packages = desk.planned(name)
    yield f"To be installed: {', '.join(packages)}" if packages else "Nothing is missing."
    if packages and not yes:
        yield f"Do it with: launch.py extensions requirements {name} --yes"
    if packages and yes:
        desk.install_requirements(name)
        yield "Installed. Restart Easel if it is running."
