"""Errors as JSON: {"error": {"kind", "text", "template", "values"}} with the status the error class names.

Under /sdapi and /controlnet they have AUTOMATIC1111's shape: {"error", "detail", "body", "errors"}.
"""

import json
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from webui.errors import UserError
from webui.sentences import Sentence

log = logging.getLogger(__name__)

API = "/api/"
SDAPI = ("/sdapi/", "/controlnet/")


class Answer(JSONResponse):
    """Plain ASCII: half a surrogate pair from a client's JSON, quoted in an error, has no other encoding."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def answer(request: Request, status: int, kind: str, told: Sentence) -> JSONResponse:
    if request.url.path.startswith(SDAPI):
        return Answer({"error": kind, "detail": str(told), "body": "", "errors": str(told)}, status_code=status)
    return Answer({"error": {"kind": kind, **told.to_json()}}, status_code=status)


def install_error_handlers(fastapi: FastAPI) -> None:
    """One shape for every error under /api; the page's own paths keep the framework's answers."""

    @fastapi.exception_handler(UserError)
    def _user_error(request: Request, error: UserError) -> Response:
        return answer(request, error.status, error.kind, error.sentence)

    @fastapi.exception_handler(RequestValidationError)
    def _wrong_shape(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        told = Sentence("{where}: {reason}. The shapes are in /api/v1/openapi.json.", where=where, reason=first["msg"])
        if first["type"] == "extra_forbidden":
            told = Sentence("There is no field '{name}'. The shapes are in /api/v1/openapi.json.", name=where[:80])
        return answer(request, 422, "InvalidRequest", told)

    @fastapi.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        if not request.url.path.startswith((API, *SDAPI)):
            return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
        return answer(
            request, error.status_code, "HttpError", Sentence("The server says: {reason}.", reason=str(error.detail))
        )

    @fastapi.exception_handler(Exception)
    def _internal(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        told = Sentence("Something went wrong inside Easel. The log file has the details.")
        return answer(request, 500, "InternalError", told)
