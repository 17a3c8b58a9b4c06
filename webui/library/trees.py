"""Where models lie: Easel's own models folder and those of AUTOMATIC1111 and ComfyUI, recognised by their folders.

Says which folder holds which shelf; what is in it is the business of `scan`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.errors import CannotStart

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "checkpoints": ("checkpoints", "Stable-diffusion"),
    "loras": ("loras", "Lora", "LyCORIS"),
    "embeddings": ("embeddings",),
    "controlnets": ("controlnets", "controlnet", "ControlNet", "extensions/sd-webui-controlnet/models"),
    "vae": ("vae", "VAE"),
    "upscalers": ("upscalers", "upscale_models", "ESRGAN", "RealESRGAN", "SwinIR", "DAT", "GFPGAN", "Codeformer"),
}
"""Shelf -> what its folder is called: first here, then by ComfyUI, then by A1111."""
BASES = ("", "models")
"""Those folders stand in the one that is named or in its models folder."""
IN_YAML = {
    "checkpoints": "checkpoints", "loras": "loras", "embeddings": "embeddings", "controlnet": "controlnets",
    "vae": "vae", "upscale_models": "upscalers",
}  # fmt: skip
"""Key of ComfyUI's extra_model_paths.yaml -> shelf."""
MOST_BYTES = 2**20


@dataclass(frozen=True)
class Tree:
    """Folders with models, by shelf."""

    name: str
    """Stands in front of a model's name when another tree has one of that name; "" for Easel's own."""
    shelves: Mapping[str, tuple[Path, ...]]


def own_tree(checkpoints_dir: Path) -> Tree:
    """Easel's models folder, whose checkpoints lie there."""
    models = checkpoints_dir.parent
    return Tree("", {shelf: (models / shelf,) for shelf in FOLDERS} | {"checkpoints": (checkpoints_dir,)})


def extra_trees(paths: Sequence[Path]) -> list[Tree]:
    """The trees that these folders, or extra_model_paths.yaml files, stand for; their names differ.

    Raises `CannotStart` for one that holds no models as far as its folders' names say.
    """
    trees: list[Tree] = []
    for path in paths:
        for tree in _in_yaml(path) if path.suffix in (".yaml", ".yml") else [_in_folder(path)]:
            taken = {known.name for known in trees}
            names = (tree.name, *(f"{tree.name} {number}" for number in range(2, len(trees) + 3)))
            trees.append(Tree(next(name for name in names if name not in taken), tree.shelves))
    return trees


def _in_folder(folder: Path) -> Tree:
    shelves = {shelf: _existing(folder / base / name for base in BASES for name in names)
               for shelf, names in FOLDERS.items()}  # fmt: skip
    if not any(shelves.values()):
        looked_for = ", ".join(f"{names[-1] if shelf == 'vae' else names[0]}" for shelf, names in FOLDERS.items())
        raise CannotStart(
            "--extra-models {folder} holds no models: Easel looks for the folders of AUTOMATIC1111 "
            "(models/Stable-diffusion, models/Lora, …) and ComfyUI (models/checkpoints, models/loras, …) there, "
            "or for {folders}.",
            folder=str(folder), folders=looked_for,
        )  # fmt: skip
    path = folder.resolve()
    return Tree(path.parent.name if path.name == "models" else path.name, shelves)


def _existing(folders: Iterator[Path]) -> tuple[Path, ...]:
    """Those that are there, each real folder once: some file systems know no difference between vae and VAE."""
    return tuple({path.resolve(): path for path in reversed([path for path in folders if path.is_dir()])}.values())[
        ::-1
    ]


def _in_yaml(path: Path) -> list[Tree]:
    """The sections of an extra_model_paths.yaml: `base_path`, and under each key one folder or several, a line each."""
    try:
        sections = _read_yaml(path)
    except (OSError, ValueError) as error:
        raise CannotStart(
            "--extra-models {file} cannot be read: {reason}.", file=str(path), reason=" ".join(str(error).split())
        ) from error
    trees = [
        Tree(str(name), _shelves(path.parent, section))
        for name, section in sections.items()
        if isinstance(section, dict)
    ]
    if not any(folder for tree in trees for folders in tree.shelves.values() for folder in folders):
        raise CannotStart("--extra-models {file} names no folder that is there.", file=str(path))
    return trees


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    with path.open("rb") as file:
        content = file.read(MOST_BYTES)
    try:
        sections = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(sections, dict):
        raise ValueError("it has no sections")
    return sections


def _shelves(here: Path, section: Mapping[str, Any]) -> Mapping[str, tuple[Path, ...]]:
    base = here / Path(str(section.get("base_path", ""))).expanduser()
    shelves = {shelf: str(section.get(key) or "").splitlines() for key, shelf in IN_YAML.items()}
    return {
        shelf: _existing(base / Path(line.strip()).expanduser() for line in lines if line.strip())
        for shelf, lines in shelves.items()
    }
