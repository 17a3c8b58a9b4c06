"""/datasets: pictures and captions to learn from. Datasets by name, pictures by opaque id; a client names no path."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from webui.api.v1.bodies import FILE_BODY, store_body
from webui.app import App
from webui.dataset import Example
from webui.datasets import Datasets
from webui.errors import CannotSaveDataset

Name = Annotated[str, Field(min_length=1, max_length=100)]


class NewDataset(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name


class NewCaption(BaseModel):
    model_config = ConfigDict(extra="forbid")

    caption: str


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/datasets", tags=["datasets"])
    datasets = app.datasets

    @router.get("")
    def every() -> dict[str, Any]:
        """All datasets with their sizes."""
        return {"datasets": [_summary_json(datasets, name) for name in datasets.names()]}

    @router.post("", status_code=201)
    def create(new: NewDataset) -> dict[str, Any]:
        """Begin an empty dataset."""
        datasets.create(new.name)
        return _summary_json(datasets, new.name)

    @router.get("/{name}")
    def one(
        name: str,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 60,
    ) -> dict[str, Any]:
        """What is wrong with a dataset, and some of its pictures with their captions."""
        examples = datasets.read(name).examples[offset : offset + limit]
        return {
            **_summary_json(datasets, name),
            "problems": [problem.to_json() for problem in datasets.read(name).problems],
            "offset": offset,
            "items": [_example_json(datasets, name, example) for example in examples],
        }

    @router.delete("/{name}")
    def delete(name: str) -> dict[str, Any]:
        """Remove a dataset with all its files."""
        app.delete_dataset(name)
        return {"name": name}

    @router.post("/{name}/files", status_code=201, openapi_extra=FILE_BODY)
    async def add(
        name: str, request: Request, file: Annotated[str, Query(min_length=1, max_length=200)]
    ) -> dict[str, Any]:
        """Add one file, the body as it is: a picture, a .txt or .jsonl with captions, or a .zip of them."""
        with datasets.upload(name, file) as path:
            try:
                await store_body(request.stream(), path)
            except OSError as error:
                raise CannotSaveDataset(str(path.parent.parent.parent), error.strerror or str(error)) from error
            received = await asyncio.to_thread(datasets.receive, name, path)
        return {"added": received.added, "problems": [problem.to_json() for problem in received.problems]}

    _add_picture_routes(router, datasets)
    return router


def _add_picture_routes(router: APIRouter, datasets: Datasets) -> None:
    @router.get(
        "/{name}/pictures/{picture_id}/thumbnail",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    def thumbnail(name: str, picture_id: str, request: Request) -> Response:
        """A small JPEG of the picture."""
        stat = datasets.picture(name, picture_id).path.stat()
        tag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(datasets.thumbnail(name, picture_id), media_type="image/jpeg", headers=headers)

    @router.put("/{name}/pictures/{picture_id}")
    def caption(name: str, picture_id: str, new: NewCaption) -> dict[str, Any]:
        """Give the picture another caption."""
        datasets.caption(name, picture_id, new.caption)
        return _example_json(datasets, name, datasets.picture(name, picture_id))

    @router.delete("/{name}/pictures/{picture_id}")
    def remove(name: str, picture_id: str) -> dict[str, Any]:
        """Remove the picture, its caption and its control picture."""
        datasets.remove(name, picture_id)
        return {"id": picture_id}


def _summary_json(datasets: Datasets, name: str) -> dict[str, Any]:
    dataset = datasets.read(name)
    return {
        "name": name,
        "pictures": len(dataset.examples),
        "captioned": sum(bool(example.caption) for example in dataset.examples),
        "controls": sum(example.control is not None for example in dataset.examples),
        "labels": list(dataset.labels),
        "problem_count": len(dataset.problems),
    }


def _example_json(datasets: Datasets, name: str, example: Example) -> dict[str, Any]:
    picture_id = datasets.id_of(name, example)
    return {
        "id": picture_id,
        "file": datasets.file_of(name, example),
        "caption": example.caption,
        "label": example.label,
        "width": example.size[0],
        "height": example.size[1],
    }
