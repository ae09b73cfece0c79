"""A web server of a few fixed pages, on the event loop: small requests, quick answers, one per connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

REQUEST_TIMEOUT_S = 5.0
_MOST_REQUEST_BYTES = 8_192
_MOST_CONNECTIONS = 64
_REASONS = {
    200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable",
}  # fmt: skip
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """What a request is answered with."""

    status: int
    kind: str
    body: bytes


def text_page(status: int, text: str) -> Page:
    """Return a page for people."""
    return Page(status, TEXT, text.encode())


def json_page(status: int, value: object) -> Page:
    """Return a page for programs."""
    return Page(status, "application/json", json.dumps(value).encode() + b"\n")


@contextlib.asynccontextmanager
async def listening(
    pages: Mapping[str, Callable[[str], Page]], host: str, port: int, *, timeout_s: float = REQUEST_TIMEOUT_S
) -> AsyncGenerator[asyncio.Server]:
    """
    Serve pages inside this context. Whoever speaks no HTTP, or reads or writes too slowly, is cut off.

    Args:
        pages: By path; each is given the query of the request ("" for none), and must not wait for anything.
        host: Name or address to listen at.
        port: 0 takes a free one.
        timeout_s: Bound of a whole exchange.

    Raises:
        OSError: If the address is not to be had.
    """
    busy: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(busy) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        busy.add(writer)
        try:
            await _answer(reader, writer, pages, timeout_s)
        finally:
            busy.discard(writer)

    server = await asyncio.start_server(answer, host, port, limit=_MOST_REQUEST_BYTES)
    try:
        yield server
    finally:
        server.close()
        for writer in list(busy):
            writer.transport.abort()
        await server.wait_closed()


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    pages: Mapping[str, Callable[[str], Page]],
    timeout_s: float,
) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            writer.write(_response(await reader.readuntil(b"\r\n\r\n"), pages))
            writer.close()
            await writer.wait_closed()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        pass  # a TimeoutError is an OSError
    finally:
        # Closing alone would wait for a client that does not read, for ever.
        writer.transport.abort()


def _response(head: bytes, pages: Mapping[str, Callable[[str], Page]]) -> bytes:
    method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    path, _, query = rest.partition(b" ")[0].decode("latin-1").partition("?")
    if method not in (b"GET", b"HEAD"):
        page = text_page(405, "GET or HEAD\n")
    elif path in pages:
        page = pages[path](query)
    else:
        page = text_page(404, "".join(f"GET {known}\n" for known in pages))
    fields = (
        f"HTTP/1.1 {page.status} {_REASONS[page.status]}\r\nContent-Type: {page.kind}\r\n"
        f"Content-Length: {len(page.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n"
        + ("Allow: GET, HEAD\r\n" if page.status == 405 else "")
    )
    return fields.encode() + b"\r\n" + (b"" if method == b"HEAD" else page.body)
