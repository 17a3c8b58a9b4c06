"""/jobs/{id}/…: what only a training has: its loss curve, its sample pictures, a second life after a failure."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from webui.api.v1.pictures import IMMUTABLE
from webui.app import App


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/jobs", tags=["trainings"])

    @router.get("/{job_id}/training")
    def training(job_id: str, points: Annotated[int, Query(ge=2, le=20_000)] = 600) -> dict[str, Any]:
        """Loss curve as [step, loss], at most `points` of them, each the mean of its neighbours; sample pictures."""
        return app.training(job_id, points)

    @router.get("/{job_id}/samples/{step}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
    def sample(job_id: str, step: int) -> Response:
        """The picture made after this step, JPEG."""
        return Response(app.sample(job_id, step), media_type="image/jpeg", headers=IMMUTABLE)

    @router.post("/{job_id}/again", status_code=201)
    def again(job_id: str) -> dict[str, Any]:
        """A new job that goes on from the last saved state of a training that failed."""
        return app.job(app.take_up_again(job_id).id)

    return router
