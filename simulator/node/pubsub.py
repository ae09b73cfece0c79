"""PubSub over websocket: connections, their subscriptions, and a bounded queue for each."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from simulator.node import errors, subscriptions
from simulator.node.jsonrpc import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from websockets.asyncio.server import Server, ServerConnection

    from simulator.node.faults import Faults
    from simulator.node.subscriptions import Kind, Subscription

_MAX_REQUEST_BYTES = 4 << 20


class Connection:
    """One client. Notifications wait in a bounded queue; who does not read is cut off, as real nodes do it."""

    def __init__(self, socket: ServerConnection, numbers: Iterator[int], faults: Faults, queue_size: int) -> None:
        self._socket = socket
        self._numbers = numbers
        self._faults = faults
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(queue_size)
        self._gone = asyncio.Event()
        self.subscriptions: dict[int, Subscription] = {}

    async def serve(self) -> None:
        """Answer calls and send notifications until the client goes."""
        sender = asyncio.create_task(self._send())
        try:
            async for text in self._socket:
                await self._socket.send(answer(text, self._call), text=True)
        except ConnectionClosed:
            pass
        finally:
            self._gone.set()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            frame = await self._queue.get()
            await self._faults.gate()
            try:
                for copy in self._faults.copies(frame):
                    await self._socket.send(copy, text=True)
            except ConnectionClosed:
                self._gone.set()
                return
            self._queue.task_done()

    def offer(self, frame: bytes) -> None:
        """Queue a notification; cut the client off if its queue is full."""
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.drop()

    async def put(self, frame: bytes) -> None:
        """Queue a notification, waiting for room while the client is there."""
        if self._queue.full():
            await self._or_gone(self._queue.put(frame))
        elif not self._gone.is_set():
            self._queue.put_nowait(frame)

    async def drained(self) -> None:
        """Wait until everything queued was sent, or the client is gone."""
        await self._or_gone(self._queue.join())

    async def _or_gone(self, wait: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(wait), asyncio.create_task(self._gone.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def drop(self) -> None:
        """Cut the connection now, without a goodbye."""
        self._gone.set()
        self.subscriptions.clear()
        self._socket.transport.abort()

    def _call(self, method: str, params: list[Any]) -> Any:
        for kind in subscriptions.KINDS:
            if method == f"{kind}Subscribe":
                return self._subscribe(kind, params)
            if method == f"{kind}Unsubscribe":
                return self._unsubscribe(kind, params)
        raise errors.method_not_found()

    def _subscribe(self, kind: Kind, params: list[Any]) -> int:
        found = subscriptions.subscription(next(self._numbers), kind, params)
        self.subscriptions[found.id] = found
        return found.id

    def _unsubscribe(self, kind: Kind, params: list[Any]) -> bool:
        found = self.subscriptions.get(params[0]) if params and isinstance(params[0], int) else None
        if found is None or found.kind != kind:
            raise errors.invalid_params("Invalid subscription id.")
        del self.subscriptions[found.id]
        return True


class PubSub:
    """The websocket server, and all its connections."""

    def __init__(self, faults: Faults, queue_size: int) -> None:
        self._faults = faults
        self._queue_size = queue_size
        self._numbers = count(1)
        self._server: Server | None = None
        self.connections: set[Connection] = set()
        self.accepted = 0
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        self._server = await serve(
            self._handle, host, port, compression=None, max_size=_MAX_REQUEST_BYTES, ping_interval=None
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _handle(self, socket: ServerConnection) -> None:
        connection = Connection(socket, self._numbers, self._faults, self._queue_size)
        self.connections.add(connection)
        self.accepted += 1
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)

    @property
    def subscriptions(self) -> int:
        """Return how many subscriptions of all clients stand."""
        return sum(len(connection.subscriptions) for connection in self.connections)

    def drop_all(self) -> None:
        """Cut every connection now."""
        for connection in list(self.connections):
            connection.drop()

    def wanted(self, kind: Kind, match: Callable[[Subscription], bool]) -> list[tuple[Connection, Subscription]]:
        """Return the subscriptions of a kind that match, with their connections."""
        return [
            (connection, found)
            for connection in self.connections
            for found in list(connection.subscriptions.values())
            if found.kind == kind and match(found)
        ]

    async def drained(self) -> None:
        """Wait until every queue is empty."""
        for connection in list(self.connections):
            await connection.drained()
