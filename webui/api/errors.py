"""Errors as JSON: {"error": {"kind", "text"}} with the status the error class names."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from webui.errors import UserError

log = logging.getLogger(__name__)

API = "/api/"


def answer(status: int, kind: str, text: str) -> JSONResponse:
    # Half a surrogate pair from a client's JSON cannot be encoded; what is quoted of it must still be answerable.
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return JSONResponse({"error": {"kind": kind, "text": plain}}, status_code=status)


def install_error_handlers(fastapi: FastAPI) -> None:
    """One shape for every error under /api; the page's own paths keep the framework's answers."""

    @fastapi.exception_handler(UserError)
    def _user_error(_request: Request, error: UserError) -> Response:
        return answer(error.status, error.kind, str(error))

    @fastapi.exception_handler(RequestValidationError)
    def _wrong_shape(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        return answer(422, "InvalidRequest", f"{where}: {first['msg']}. The shapes are in /api/v1/openapi.json.")

    @fastapi.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        if not request.url.path.startswith(API):
            return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
        return answer(error.status_code, "HttpError", str(error.detail))

    @fastapi.exception_handler(Exception)
    def _internal(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(500, "InternalError", "Something went wrong inside Easel. The log file has the details.")
