"""A small HTTP/1.1 server for JSON-RPC: POST with Content-Length, keep-alive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from simulator.faults.requests import Answer
from simulator.node.jsonrpc import answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from simulator.faults.faults import Faults

_MAX_BODY_BYTES = 50 * 1024
_MAX_HEAD_BYTES = 16 * 1024
_REASONS = {
    200: "OK",
    400: "Bad Request",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


class HttpServer:
    """Serves one JSON-RPC endpoint on a loopback port."""

    def __init__(self, call: Callable[[str, list[Any]], Any], faults: Faults) -> None:
        self._call = call
        self._faults = faults
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.requests = 0
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Close the port; connections that stand go on."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """Close the port and all connections."""
        self.refuse()
        if self._server is not None:
            self.drop_all()
            await self._server.wait_closed()
            self._server = None

    def drop_all(self) -> None:
        """Cut every connection now, without a goodbye."""
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._one(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the caller went away, or speaks no HTTP
        finally:
            self._open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        method = head[0].split(" ")[0]
        length = headers.get("content-length", "")
        keep = headers.get("connection", "").lower() != "close"
        if method != "POST":
            refused = Answer(405, (), b"Used HTTP Method is not allowed. POST or OPTIONS is required\n")
            return self._write(writer, refused, keep=False)
        if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            return self._write(writer, Answer(413 if length.isdigit() else 400), keep=False)
        body = await reader.readexactly(int(length))
        self.requests += 1
        said = self._faults.requests.answer(body) or Answer(body=answer(body, self._call))
        await self._wait(said)
        return self._write(writer, said, keep=keep)

    async def _wait(self, said: Answer) -> None:
        if said.wait_s:
            await asyncio.sleep(said.wait_s)
        await self._faults.pace(len(said.body or b""))

    @staticmethod
    def _write(writer: asyncio.StreamWriter, said: Answer, *, keep: bool) -> bool:
        """Write an answer, or cut the connection; return whether it stays open."""
        if said.body is None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
            writer.transport.close()
            return False
        kind = "application/json; charset=utf-8" if said.body[:1] in (b"{", b"[") else "text/plain"
        headers = [("content-type", kind), ("content-length", str(len(said.body))), *said.headers]
        headers.append(("connection", "keep-alive" if keep else "close"))
        lines = [f"HTTP/1.1 {said.status} {_REASONS[said.status]}", *[f"{name}: {value}" for name, value in headers]]
        writer.write("\r\n".join([*lines, "", ""]).encode() + said.body)
        return keep
