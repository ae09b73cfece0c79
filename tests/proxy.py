"""A TCP proxy for any wire of a test: it passes bytes on until it is told to cut, stall, refuse or throttle them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK_BYTES = 64 * 1024
_STEP_S = 0.02  # how finely a throttled wire is cut into pieces
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Proxy:
    """
    Stands before a server.

        async with Proxy("127.0.0.1", 5432) as proxy:
            connection = await asyncpg.connect(host="127.0.0.1", port=proxy.port)
            proxy.cut()

    `host` may be the path of a unix socket, whatever `target_port` is then. `port` is where it listens, on loopback;
    `accepted` counts all connections so far.
    """

    def __init__(self, host: str, target_port: int = 0) -> None:
        self._target = (host, target_port)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._running = asyncio.Event()
        self._running.set()
        self._bytes_per_s: float | None = None
        self._left_bytes: int | None = None
        self.port = 0
        self.accepted = 0

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        for link in list(self._links):
            link.reset()
        await asyncio.gather(*(link.ended.wait() for link in list(self._links)))

    @property
    def connections(self) -> int:
        """Return how many connections stand."""
        return len(self._links)

    def aim(self, host: str, target_port: int) -> None:
        """Stand before another server; connections that stand go on with the one before."""
        self._target = (host, target_port)

    async def refuse(self) -> None:
        """Close the port: who connects is refused. Connections that stand go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Open the port (again; it stays the same)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_CHUNK_BYTES)
            self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection now (RST to both ends)."""
        for link in list(self._links):
            link.reset()

    def cut_after(self, count: int) -> None:
        """Reset every connection once `count` bytes more went through, in whichever direction; the next ones stand."""
        self._left_bytes = count

    def stall(self) -> None:
        """Let nothing through, and say nothing: half-open, as when a router forgets a connection."""
        self._running.clear()

    def resume(self) -> None:
        """Go on after `stall`, first with what waited."""
        self._running.set()

    def throttle(self, bytes_per_s: float | None) -> None:
        """Let so many bytes a second through, per connection and direction; None for all."""
        self._bytes_per_s = bytes_per_s

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            await self._join(link, reader, writer)
        except OSError:
            link.reset()  # the server is not there, or went away
        finally:
            link.close()
            self._links.discard(link)
            link.ended.set()

    async def _join(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._reach()
        link.writers.append(far_writer)
        ways = [(reader, far_writer), (far_reader, writer)]
        tasks: list[asyncio.Future[Any]] = [asyncio.gather(*(self._pump(link, *way) for way in ways))]
        tasks.append(asyncio.ensure_future(link.gone.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._target
        if host.startswith("/"):
            return await asyncio.open_unix_connection(host, limit=_CHUNK_BYTES)
        return await asyncio.open_connection(host, port, limit=_CHUNK_BYTES)

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what one side says until it ends; its FIN is passed on as well."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._running.wait()
                for piece in self._pieces(data):
                    if self._cuts(link, len(piece)):
                        return
                    writer.write(piece)
                    await writer.drain()
                    await self._pace(len(piece))
            await self._running.wait()
            if writer.can_write_eof():
                writer.write_eof()
            return
        link.reset()

    def _pieces(self, data: bytes) -> list[bytes]:
        if self._bytes_per_s is None:
            return [data]
        size = max(1, int(self._bytes_per_s * _STEP_S))
        return [data[start : start + size] for start in range(0, len(data), size)]

    async def _pace(self, count: int) -> None:
        if self._bytes_per_s is not None:
            await asyncio.sleep(count / self._bytes_per_s)
        await self._running.wait()

    def _cuts(self, link: _Link, count: int) -> bool:
        """Return whether this piece is one too many, having cut all connections then."""
        if link.gone.is_set():
            return True
        if self._left_bytes is None:
            return False
        self._left_bytes -= count
        if self._left_bytes >= 0:
            return False
        self._left_bytes = None
        self.cut()
        return True


class _Link:
    """One connection: both its sockets."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.gone = asyncio.Event()
        self.ended = asyncio.Event()

    def reset(self) -> None:
        """Break both ends by RST."""
        self.gone.set()
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    def close(self) -> None:
        """Close both ends."""
        for writer in self.writers:
            writer.close()
