"""Serves the metrics page: HTTP on the event loop, for Prometheus alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from monitor.config import parse_listen
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from prometheus_client.registry import Collector

_REQUEST_TIMEOUT_S = 5.0
_MOST_REQUEST_BYTES = 16_384


def check(listen: str | None) -> None:
    """
    Look whether `serve` could listen there.

    Raises:
        ConfigError: If the address makes no sense, or is not to be had.
    """
    if not listen:
        return
    try:
        host, port = parse_listen(listen)
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            with socket.create_server(address[:2], family=family):
                pass
    except (OSError, ValueError) as error:
        raise _not_to_be_had(listen, error) from error


def _not_to_be_had(listen: str, error: Exception) -> ConfigError:
    reason = (isinstance(error, OSError) and error.strerror) or error
    return ConfigError(
        f"metrics.listen {listen}: {reason}",
        mend="set metrics.listen to a free HOST:PORT (port 0: any), or to nothing for no page",
    )


@contextlib.asynccontextmanager
async def serve(meters: Collector, listen: str | None) -> AsyncGenerator[str | None]:
    """
    Serve metrics at http://`listen`/metrics inside this context.

    On the event loop, not on a thread: what is counted changes there alone, so that one scrape is one moment.

    Args:
        meters: What is collected at each request.
        listen: "HOST:PORT" or "[IPV6]:PORT", port 0 for any free one; None or "": there is no page.

    Yields:
        The page's address with its real port; None where there is none.

    Raises:
        ConfigError: If the address makes no sense, or is not to be had.
    """
    if not listen:
        yield None
        return
    registry = CollectorRegistry()
    registry.register(meters)
    busy: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(writer)
        try:
            await _answer(reader, writer, registry)
        finally:
            busy.discard(writer)

    try:
        host, port = parse_listen(listen)
        server = await asyncio.start_server(answer, host, port, limit=_MOST_REQUEST_BYTES)
    except (OSError, ValueError) as error:
        raise _not_to_be_had(listen, error) from error
    try:
        yield _url(server)
    finally:
        server.close()
        for writer in list(busy):
            writer.transport.abort()
        await server.wait_closed()


def _url(server: asyncio.Server) -> str:
    host, port, *_ = server.sockets[0].getsockname()
    return f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, registry: CollectorRegistry) -> None:
    """Answer one request and close; whoever speaks no HTTP, or too slowly, gets no answer."""
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(head, registry))
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        return  # a TimeoutError is an OSError
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _response(head: bytes, registry: CollectorRegistry) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method not in (b"GET", b"HEAD"):
        status, kind, body = "405 Method Not Allowed", "text/plain", b"GET /metrics\n"
    elif path not in (b"/metrics", b"/"):
        status, kind, body = "404 Not Found", "text/plain", b"GET /metrics\n"
    else:
        status, kind, body = "200 OK", CONTENT_TYPE_LATEST, generate_latest(registry)
    fields = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return fields.encode() + (b"" if method == b"HEAD" else body)
