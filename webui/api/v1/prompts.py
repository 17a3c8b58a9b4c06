"""/prompts, /styles and /wildcards: what a prompt takes and may become, and the texts that it is made of."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from webui.app import App
from webui.prompt.limits import MAX_CHARACTERS
from webui.prompt.styles import LONGEST_NAME, Style
from webui.prompt.wildcard_files import LONGEST_NAME as LONGEST_WILDCARD
from webui.prompt.wildcard_files import MAX_FILE
from webui.request_base import MAX_SEED

Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Styles = Annotated[list[str], Field(max_length=100)]


class Prompts(BaseModel):
    """A prompt and its opposite as they stand in a form, and the styles chosen there."""

    model_config = ConfigDict(extra="forbid")

    prompt: Text = ""
    negative_prompt: Text = ""
    styles: Styles = Field(default_factory=list)


class Counted(Prompts):
    """What decides how many tokens they take besides."""

    checkpoint: str = ""
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] = 20
    emphasis: str = "Original"


class Rolled(Prompts):
    """The seeds that the words are drawn for."""

    seeds: Annotated[list[Annotated[int, Field(ge=0, le=MAX_SEED)]], Field(min_length=1, max_length=50)]


class WildcardBody(BaseModel):
    """A file of the wildcards folder: a word or phrase per line."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_WILDCARD)]
    text: Annotated[str, Field(max_length=MAX_FILE)]


class StyleBody(BaseModel):
    """A row of styles.csv."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    prompt: Text = ""
    negative_prompt: Text = ""


def routes(app: App) -> APIRouter:
    router = APIRouter(tags=["prompts"])

    @router.post("/prompts/tokens")
    def tokens(body: Counted) -> dict[str, Any]:
        """Tokens of both prompts, styles applied, and how many the chunks they need hold."""
        passport = app.library.find(body.checkpoint, app.options.current.default_checkpoint)
        counts = app.prompts.tokens(
            passport, (body.prompt, body.negative_prompt), body.styles,
            steps=body.num_inference_steps, emphasis=body.emphasis, embeddings=app.library.shelf("embeddings"),
        )  # fmt: skip
        names = ("prompt", "negative_prompt")
        return {name: {"used": count.used, "room": count.room} for name, count in zip(names, counts, strict=True)}

    @router.post("/prompts/styled")
    def styled(body: Prompts) -> dict[str, str]:
        """Both prompts with the styles put in."""
        prompt, negative_prompt = app.prompts.styled(body.prompt, body.negative_prompt, body.styles)
        return {"prompt": prompt, "negative_prompt": negative_prompt}

    @router.post("/prompts/rolled")
    def rolled(body: Rolled) -> dict[str, Any]:
        """What both prompts say for each seed: styles put in, wildcards and alternatives drawn."""
        drawn = app.prompts.rolled(body.prompt, body.negative_prompt, body.styles, body.seeds)
        return {
            "rolled": [
                {"seed": seed, "prompt": prompt, "negative_prompt": negative_prompt}
                for seed, (prompt, negative_prompt) in zip(body.seeds, drawn, strict=True)
            ]
        }

    _add_wildcards(router, app)
    _add_styles(router, app)
    return router


def _add_wildcards(router: APIRouter, app: App) -> None:
    @router.get("/wildcards")
    def wildcards() -> dict[str, list[str]]:
        """The name of every wildcard."""
        return {"wildcards": list(app.prompts.wildcards())}

    @router.get("/wildcards/{name:path}")
    def wildcard(name: str) -> dict[str, Any]:
        """The text of its file, and how many lines can be drawn."""
        folder = app.prompts.wildcards()
        return {"name": name, "text": folder.text(name), "lines": len(folder[name])}

    @router.put("/wildcards")
    def save(body: WildcardBody) -> dict[str, list[str]]:
        """Add a wildcard, or replace the one of its name; what was there stays beside it as .bak."""
        app.prompts.wildcards().save(body.name, body.text)
        return wildcards()

    @router.delete("/wildcards")
    def delete(name: Annotated[str, Query(max_length=LONGEST_WILDCARD)]) -> dict[str, list[str]]:
        """Delete a wildcard; its file stays beside its place as .bak."""
        app.prompts.wildcards().delete(name)
        return wildcards()


def _add_styles(router: APIRouter, app: App) -> None:
    @router.get("/styles")
    def styles() -> dict[str, Any]:
        """Every style, in the file's order, and what is wrong with the file, if anything."""
        return _listed(app)

    @router.put("/styles")
    def save(body: StyleBody) -> dict[str, Any]:
        """Add a style, or replace the one of its name."""
        app.prompts.styles.save(Style(body.name, body.prompt, body.negative_prompt))
        return _listed(app)

    @router.delete("/styles")
    def delete(name: Annotated[str, Query(max_length=LONGEST_NAME)]) -> dict[str, Any]:
        """Delete a style; the file as it was stays beside it as .bak."""
        app.prompts.styles.delete(name)
        return _listed(app)


def _listed(app: App) -> dict[str, Any]:
    file = app.prompts.styles
    file.refresh()
    rows = [
        {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
        for style in file.styles.values()
    ]
    return {"styles": rows, "warning": None if file.warning is None else file.warning.to_json()}
