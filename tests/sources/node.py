"""A node's websocket under a test's control: real sockets, and every way of breaking them."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response as HttpResponse

from monitor.channel import Channel
from monitor.sources.endpoint import Endpoint
from monitor.sources.live import Following
from monitor.sources.session import Limits
from tests.sources import said

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request as HttpRequest

    from monitor.sources.live import LiveSource
    from monitor.sources.notices import Notice

LIMITS = Limits(
    open_timeout_s=5, acknowledge_timeout_s=5, stall_timeout_s=5, close_timeout_s=0.2, max_frame_bytes=1 << 20
)


class Peer:
    """The node's side of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def request(self) -> dict[str, Any]:
        """Return the next request."""
        request: dict[str, Any] = json.loads(await self.connection.recv())
        return request

    async def send(self, *frames: bytes | str) -> None:
        """Say something, as text."""
        for frame in frames:
            await self.connection.send(frame if isinstance(frame, str) else frame.decode("utf-8", "surrogateescape"))

    async def acknowledge(self, count: int) -> dict[str, int]:
        """Acknowledge `count` subscriptions; return their ids by method (programs' logs: by program)."""
        ids = {}
        for _ in range(count):
            request = await self.request()
            name = request["method"]
            if name == "logsSubscribe":
                name = request["params"][0]["mentions"][0]
            ids[name] = 1000 + request["id"]
            await self.send(said.result(ids[name], request["id"]))
        return ids

    def reset(self) -> None:
        """Break the connection by RST."""
        raw = self.connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()


class Node:
    """A websocket server: `peer()` gives its connections in the order of their coming."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[tuple[int, dict[str, str]]] = []
        self.paths: list[str] = []
        self._peers: Channel[Peer] = Channel(100, "peers")

    async def peer(self) -> Peer:
        """Return the next connection."""
        async with asyncio.timeout(5):
            return await self._peers.get()

    async def _serve(self, connection: ServerConnection) -> None:
        peer = Peer(connection)
        await self._peers.put(peer)
        await connection.wait_closed()

    def _answer_http(self, connection: ServerConnection, request: HttpRequest) -> HttpResponse | None:
        self.paths.append(request.path)
        if not self.statuses:
            return None
        status, headers = self.statuses.pop(0)
        return HttpResponse(status, "x", Headers({"Content-Length": "0", **headers}), b"")


@asynccontextmanager
async def node() -> AsyncGenerator[Node, None]:
    """Run a node on a free port."""
    subject = Node()
    async with serve(
        subject._serve,
        "127.0.0.1",
        0,
        process_request=subject._answer_http,
        compression=None,
        max_size=None,
        ping_interval=None,
        close_timeout=0.2,
    ) as server:
        subject.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/key/SECRET"
        try:
            yield subject
        finally:
            for connection in list(server.connections):
                connection.transport.abort()


@asynccontextmanager
async def tcp_server(greeting: bytes = b"") -> AsyncGenerator[int, None]:
    """Listen on a free port (given to the block), send `greeting` to whoever comes, and nothing more."""
    writers: list[asyncio.StreamWriter] = []

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(greeting)
        if greeting:
            writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            for writer in writers:
                writer.transport.abort()
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


def following(url: str, limits: Limits = LIMITS) -> Following:
    """Follow a node with short delays."""
    return Following(
        Endpoint(url),
        frozenset({said.PROGRAM, said.OTHER_PROGRAM}),
        limits=limits,
        first_delay_s=0.01,
        longest_delay_s=0.02,
    )


class Running:
    """A source at work, and what it put out."""

    def __init__(self, source: LiveSource, out: Channel[Notice]) -> None:
        self.source = source
        self.out = out

    async def get(self) -> Notice:
        """Return the next notice."""
        return await self.out.get(asyncio.get_running_loop().time() + 5)


@asynccontextmanager
async def running(source: LiveSource, capacity: int = 1000) -> AsyncGenerator[Running, None]:
    """Run a source, and cancel it in the end."""
    out: Channel[Notice] = Channel(capacity, "out")
    task = asyncio.create_task(source.run(out))
    try:
        yield Running(source, out)
    finally:
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
    assert task.cancelled(), task
