"""A node's HTTP side under a test's control: answers by method, and every way of failing."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.sources import said

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


@dataclass(frozen=True)
class Reply:
    """An HTTP response. `hang`: never answer; `cut`: close in the middle of the body; `after`: not before that."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    cut: bool = False
    after: asyncio.Event | None = None


Answerer: TypeAlias = "Callable[[dict[str, Any]], Awaitable[Reply]]"


class HttpNode:
    """Answers requests by `results`, a function of the params for each method, after what is in `next` is used up."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.busy = 0
        self.busiest = 0
        self.next: deque[Reply] = deque()
        self.results: dict[str, Callable[[list[Any]], Any]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self._arrivals = asyncio.Semaphore(0)

    async def arrived(self, count: int) -> None:
        """Wait for so many more requests."""
        async with asyncio.timeout(5):
            for _ in range(count):
                await self._arrivals.acquire()

    async def _answer(self, request: dict[str, Any]) -> Reply:
        self.requests.append(request)
        self._arrivals.release()
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.gate.wait()
        finally:
            self.busy -= 1
        if self.next:
            return self.next.popleft()
        method = self.results.get(request["method"])
        if method is None:
            return Reply(said.error(-32601, "Method not found", request["id"]))
        value = method(request["params"])
        return value if isinstance(value, Reply) else Reply(said.result(value, request["id"]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            self.headers.append({"path": lines[0].split(" ")[1], **headers})
            request = json.loads(await reader.readexactly(int(headers["content-length"])))
            reply = await self._answer(request)
            if reply.after is not None:
                await reply.after.wait()
            if reply.hang:
                await reader.read()
                return
            told = {"Content-Length": str(len(reply.body) + reply.cut), **reply.headers}
            text = "".join(f"{name}: {value}\r\n" for name, value in told.items())
            writer.write(f"HTTP/1.1 {reply.status} x\r\n{text}\r\n".encode() + reply.body)
            await writer.drain()
            if reply.cut:
                return

    def asked(self, method: str) -> list[list[Any]]:
        """Return the params of every request of a method."""
        return [request["params"] for request in self.requests if request["method"] == method]


@asynccontextmanager
async def http_node() -> AsyncGenerator[HttpNode, None]:
    """Run a node on a free port."""
    subject = HttpNode()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await subject._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        subject.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/key/SECRET"
        try:
            yield subject
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
