"""A wire between us and the server, to be cut where it hurts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_PORT = 5432
Cut = Literal["before", "after"]


class Wire:
    """
    Passes everything on until the next COMMIT once `cut` is set.

    "before": the server never sees that COMMIT. "after": the server commits, but its answer is lost.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.cut: Cut | None = None
        self._done: asyncio.TaskGroup | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        there = await self._connect()
        answers = asyncio.create_task(_pass_on(there[0], writer))
        try:
            while data := await reader.read(1 << 16):
                cut = self.cut if b"COMMIT\0" in data else None
                if cut == "before":
                    break
                if cut == "after":
                    answers.cancel()
                    there[1].write(data)
                    await there[0].read(1 << 16)
                    break
                there[1].write(data)
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            writer.close()
            there[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._url.hostname:
            return await asyncio.open_connection(self._url.hostname, self._url.port or _PORT)
        folder = parse_qs(self._url.query)["host"][0]
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{_PORT}")


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def wire(url: str, folder: Path) -> AsyncIterator[tuple[Wire, str]]:
    """Yield a wire to the server at `url` (TCP or a unix socket) and the URL that leads through it."""
    wire = Wire(url)
    server = await asyncio.start_unix_server(wire.serve, folder / f".s.PGSQL.{_PORT}")
    try:
        there = urlsplit(url)
        user = there.netloc.rpartition("@")[0]
        yield wire, urlunsplit(there._replace(netloc=f"{user}@", query=f"host={folder}&port={_PORT}"))
    finally:
        server.close()
