"""PubSub over websocket: the server, and the connections that it has."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from websockets.asyncio.server import serve

from simulator.node.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.server import Server, ServerConnection

    from simulator.faults.faults import Faults
    from simulator.node.subscriptions import Kind, Subscription

_MAX_REQUEST_BYTES = 4 << 20


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
        for connection in list(self.connections):
            if connection.hangs:
                connection.drop()  # it hears no goodbye
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

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
