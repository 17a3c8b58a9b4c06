"""X-Process-Time: how long an answer took, told as AUTOMATIC1111 tells it."""

import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class Timed(APIRoute):
    """A route whose answers carry the header, in seconds."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def timed(request: Request) -> Response:
            begin = time.perf_counter()
            response = await handle(request)
            response.headers["X-Process-Time"] = f"{time.perf_counter() - begin:.4f}"
            return response

        return timed
