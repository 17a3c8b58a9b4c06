"""Uploads: the body of a request, written to a file as it comes in."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path


async def store_body(body: AsyncIterator[bytes], path: Path) -> None:
    """Write to the new file `path`, without blocking the server. Raises OSError."""
    with path.open("xb") as file:
        async for block in body:
            await asyncio.to_thread(file.write, block)
