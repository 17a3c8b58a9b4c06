"""/gallery: the pictures in the outputs folder by opaque id: search, marks, trash, downloads."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from webui.api.v1.pictures import IMMUTABLE
from webui.app import App
from webui.gallery import Gallery
from webui.gallery import Query as Search
from webui.gallery.gallery import Entry
from webui.gallery.marks import Collection
from webui.gallery.trash import Trashed

MOST_IDS = 20_000
Ids = Annotated[list[Annotated[str, Field(max_length=40)]], Field(min_length=1, max_length=MOST_IDS)]
Text = Annotated[str, Query(max_length=500)]
Name = Annotated[str, Query(max_length=300)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Pictures(Body):
    ids: Ids


class Starred(Pictures):
    starred: bool


class ExportRequest(Pictures):
    bare: bool = False
    """Copies without metadata."""


class Named(Body):
    name: str


class Membership(Pictures):
    belongs: bool = True
    """False takes them out."""


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/gallery", tags=["gallery"])
    gallery = app.gallery

    @router.get("")
    def page(
        q: Text = "",
        starred: bool = False,
        collection: Name = "",
        checkpoint: Name = "",
        sampler: Name = "",
        tool: Name = "",
        sort: Name = "newest",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        offset: Annotated[int, Query(ge=0, le=2**40)] = 0,
    ) -> dict[str, Any]:
        """A page of what is found: behind `cursor` (the last page's `next`), or from `offset` on.

        `q`: words that all occur, "a phrase", -word, seed:7, model:name, sampler:name, negative:word, date:2026-11.
        `sort`: newest, oldest, largest, seed.
        """
        search = Search(
            text=q, starred=starred, collection=collection, checkpoint=checkpoint, sampler=sampler, tool=tool, sort=sort
        )
        found = gallery.page(search, limit=limit, offset=offset, cursor=cursor)
        done, total = gallery.indexing or (0, 0)
        return {
            "pictures": [brief_json(entry) for entry in found.entries],
            "total": found.total,
            "next": found.next,
            "indexing": {"done": done, "total": total} if gallery.indexing else None,
        }

    @router.get("/facets")
    def facets() -> dict[str, Any]:
        """Checkpoints, samplers and tools with the number of their pictures; all collections."""
        counted = {f"{name}s": [{"name": n, "pictures": count} for n, count in found]
                   for name, found in gallery.facets().items()}  # fmt: skip
        return {**counted, "collections": [_collection_json(each) for each in gallery.marks.collections()]}

    @router.post("/star")
    def star(body: Starred) -> dict[str, Any]:
        """Star pictures, or take the stars away."""
        gallery.marks.star(body.ids, body.starred)
        return {"ids": body.ids, "starred": body.starred}

    _add_trash_routes(router, gallery)
    _add_export_routes(router, gallery)
    _add_collection_routes(router, gallery)
    _add_picture_routes(router, app)
    return router


def _add_trash_routes(router: APIRouter, gallery: Gallery) -> None:
    @router.get("/trash")
    def trash() -> dict[str, Any]:
        """Deleted pictures, the latest first. Each is deleted for good 30 days after it was deleted."""
        return {"pictures": [_trashed_json(trashed) for trashed in gallery.trash.all()]}

    @router.post("/trash")
    def delete(body: Pictures) -> dict[str, Any]:
        """Move pictures to the trash."""
        return {"ids": gallery.delete(body.ids)}

    @router.post("/restore")
    def restore(body: Pictures) -> dict[str, Any]:
        """Bring pictures back from the trash."""
        return {"ids": gallery.restore(body.ids)}

    @router.delete("/trash")
    def empty() -> dict[str, Any]:
        """Delete what is in the trash for good."""
        return {"deleted": gallery.empty_trash()}


def _add_export_routes(router: APIRouter, gallery: Gallery) -> None:
    @router.post("/exports", status_code=201)
    def export(body: ExportRequest) -> dict[str, Any]:
        """Get a .zip ready and answer where to fetch it."""
        export_id, count = gallery.export(body.ids, bare=body.bare)
        return {"id": export_id, "pictures": count, "url": f"/api/v1/gallery/exports/{export_id}"}

    @router.get("/exports/{export_id}", response_class=Response)
    def exported(export_id: str) -> Response:
        """The .zip, uncompressed, as it is being made."""
        headers = {"Content-Disposition": 'attachment; filename="easel-pictures.zip"', "Cache-Control": "no-store"}
        return StreamingResponse(gallery.exported(export_id), media_type="application/zip", headers=headers)


def _add_collection_routes(router: APIRouter, gallery: Gallery) -> None:
    @router.get("/collections")
    def collections() -> dict[str, Any]:
        """All collections by name."""
        return {"collections": [_collection_json(each) for each in gallery.marks.collections()]}

    @router.post("/collections", status_code=201)
    def create(body: Named) -> dict[str, Any]:
        """Begin an empty collection."""
        return _collection_json(gallery.marks.create(body.name))

    @router.put("/collections/{collection_id}")
    def rename(collection_id: str, body: Named) -> dict[str, Any]:
        """Give it another name."""
        gallery.marks.rename(collection_id, body.name)
        return {"id": collection_id, "name": body.name}

    @router.delete("/collections/{collection_id}")
    def remove(collection_id: str) -> dict[str, Any]:
        """Delete the collection; its pictures stay in the gallery."""
        gallery.marks.delete(collection_id)
        return {"id": collection_id}

    @router.post("/collections/{collection_id}/pictures")
    def collect(collection_id: str, body: Membership) -> dict[str, Any]:
        """Put pictures into the collection, or take them out."""
        gallery.marks.collect(collection_id, body.ids, body.belongs)
        return {"id": collection_id, "ids": body.ids, "belongs": body.belongs}


def _add_picture_routes(router: APIRouter, app: App) -> None:
    gallery = app.gallery

    @router.get("/{picture_id}")
    def one(picture_id: str) -> dict[str, Any]:
        """The picture with everything that its file says about how it was made."""
        entry = gallery.one(picture_id)
        return {
            **brief_json(entry),
            "name": entry.name,
            "bytes": entry.bytes,
            "collections": gallery.marks.collections_of(entry.content),
            "info": app.gallery_info(entry),
        }

    @router.get("/{picture_id}/file", response_class=Response)
    def file(picture_id: str, download: bool = False) -> Response:
        """The picture's file as it is."""
        entry = gallery.one(picture_id)
        how: Literal["attachment", "inline"] = "attachment" if download else "inline"
        name = {"Content-Disposition": f"{how}; filename*=UTF-8''{quote(entry.name)}"}
        return Response(gallery.content(picture_id), media_type=entry.media_type, headers=IMMUTABLE | name)

    @router.get("/{picture_id}/bare", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    def bare(picture_id: str) -> Response:
        """A copy with nothing but its pixels, PNG. Its name says nothing, as the picture's own may hold the seed."""
        headers = {"Content-Disposition": 'attachment; filename="picture.png"', "Cache-Control": "no-store"}
        return Response(gallery.bare(picture_id), media_type="image/png", headers=headers)

    @router.get("/{picture_id}/thumbnail", response_class=Response, responses={200: {"content": {"image/webp": {}}}})
    def thumbnail(picture_id: str) -> Response:
        """WebP of at most 256 × 256 pixels."""
        return Response(gallery.thumbnail(picture_id), media_type="image/webp", headers=IMMUTABLE)


def brief_json(entry: Entry) -> dict[str, Any]:
    """What the grid needs. The addresses change with the content, as they are kept by browsers."""
    version = entry.content[:8]
    return {
        "id": entry.id,
        "width": entry.width,
        "height": entry.height,
        "prompt": entry.prompt[:200],
        "seed": entry.seed,
        "tool": entry.tool,
        "starred": entry.starred,
        "created": entry.created,
        "url": f"/api/v1/gallery/{entry.id}/file?v={version}",
        "thumbnail": f"/api/v1/gallery/{entry.id}/thumbnail?v={version}",
    }


def _trashed_json(trashed: Trashed) -> dict[str, Any]:
    return {
        "id": trashed.id,
        "width": trashed.width,
        "height": trashed.height,
        "prompt": trashed.prompt[:200],
        "deleted": trashed.deleted,
        "thumbnail": f"/api/v1/gallery/{trashed.id}/thumbnail?v={trashed.content[:8]}",
    }


def _collection_json(collection: Collection) -> dict[str, Any]:
    return {"id": collection.id, "name": collection.name, "pictures": collection.pictures}
