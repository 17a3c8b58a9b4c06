"""Uploads: the body of a request, written to a file as it comes in."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""What the OpenAPI document says of a body that is taken as it is."""
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/png", "image/jpeg", "image/webp", "application/octet-stream")
        },
    }
}
"""The same of a picture; its kind is told by its content."""


async def store_body(body: AsyncIterator[bytes], path: Path) -> None:
    """Write to the new file `path`, without blocking the server. Raises OSError."""
    with path.open("xb") as file:
        async for block in body:
            await asyncio.to_thread(file.write, block)
