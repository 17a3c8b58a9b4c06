"""A whole server without HTTP that carries runs out with the scripted engine, and scripts asked on their own."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.farm import wait_until
from tests.header_only import write_checkpoint
from tests.scripted_engine import ScriptedEngineFactory
from webui.app import App, create_app
from webui.extensions.manifest import read_folder
from webui.extensions.probe import script_of
from webui.prompts import PromptDesk
from webui.requests import build, construct
from webui.script import AnyRequest, Finished, Made, ScriptContext, ScriptHooks
from webui.scripts.context import fields_of
from webui.settings import ROOT, Settings

SMALL = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 3, "seed": 7}
Serve = Callable[..., AbstractContextManager[App]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("one", "two"):
        write_checkpoint(tmp_path / "models" / "checkpoints" / name)
    return Settings(data_dir=tmp_path / "data", outputs_dir=tmp_path / "outputs", models_dir=tmp_path / "models")


@pytest.fixture
def serving(settings: Settings) -> Serve:
    @contextmanager
    def serve(*, start: bool = True, step_seconds: float = 0.005) -> Iterator[App]:
        app = create_app(settings, engine_factory=ScriptedEngineFactory(step_seconds))
        try:
            if start:
                app.start()
            yield app
        finally:
            app.close()

    return serve


def wait_for(app: App, run_id: str, *states: str) -> dict[str, Any]:
    """The run as soon as it is in one of these states; by default, over."""
    wanted = states or ("done", "failed", "cancelled")
    wait_until(lambda: app.runs.one(run_id)["state"] in wanted, f"the run to be {wanted}")
    return app.runs.one(run_id)


class Asking:
    """One shipped script with a context of its own, without any server."""

    def __init__(self, name: str, folder: Path, *, open_seed: bool = False, **options: Any) -> None:
        self.pictures: dict[str, Image.Image] = {}
        self.styles = PromptDesk(folder / "styles.csv", folder / "wildcards")
        script, options_type = script_of(read_folder(ROOT / "extensions" / name))
        context = ScriptContext(
            fields=fields_of,
            option_types={"film": _Film},
            names=lambda what: {"checkpoints": ["one", "two"], "vae": ["soft"], "styles": []}.get(what, []),
            styled=self.styles.styled,
            open_picture=self.pictures.__getitem__,
            keep_picture=self._keep,
            seed_is_open=open_seed,
        )
        self.script: ScriptHooks[Any] = script(construct(options_type, options), context)

    def _keep(self, image: Image.Image) -> str:
        name = f"{len(self.pictures):032x}"
        self.pictures[name] = image
        return name

    def requests(self, kind: str = "txt2img", **values: Any) -> list[Any]:
        """What is asked for in the first round."""
        request = build(kind, {**SMALL, "checkpoint": "one", **values})
        return [cell.request for cell in self.script.following(request, ())]

    def told(self, kind: str = "txt2img", **values: Any) -> list[str]:
        request = build(kind, {**SMALL, "checkpoint": "one", **values})
        return [cell.label for cell in self.script.following(request, ())]

    def composed(self, **values: Any) -> list[Any]:
        """What is made when every cell has a picture of its size in its number's colour."""
        request = build("txt2img", {**SMALL, "checkpoint": "one", **values})
        cells = self.script.following(request, ())
        return list(self.script.compose(request, [finished(cell, number) for number, cell in enumerate(cells)]))


def finished(cell: Any, number: int, size: tuple[int, int] = (64, 64)) -> Finished:
    def painted() -> Image.Image:
        return Image.new("RGB", size, (number, 100, 200))

    return Finished(cell=cell, pictures=(Made(seed=number, width=size[0], height=size[1], open=painted),))


def _film() -> type:
    from typing import Annotated

    from webui.extension import Param, options

    class Film:
        amount: Annotated[float, Param(0.0, 1.0, label="Amount", help="How much.")] = 0.0

    return options(Film)


_Film = _film()
__all__ = ["SMALL", "AnyRequest", "Asking", "Serve", "finished", "wait_for"]
