"""Faults of connections: closed, half-open, forgotten subscriptions, and a node that is away for a while."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from simulator.faults.schedule import Fault
    from simulator.node.connection import Connection
    from simulator.node.node import Node

_REASONS = {1000: "", 1011: "keepalive ping timeout", 1013: "try again later"}
_ABNORMAL = 1006  # stands in no frame: the connection just ends
_PORT_RETRY_S = 0.05


class Outages:
    """Breaks the connections of one node. What it began goes on by itself, until its time is over or `calm`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._calm = asyncio.Event()
        self._away = False
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, fault: Fault) -> bool:
        """Begin a fault; return whether there was something to strike."""
        if fault.kind == "restart":
            begins = not self._away
            self._away = True
            if begins:
                self._start(self._restart(fault.seconds))
            return begins
        found = [one for one in self._node.pubsub.connections if one.subscriptions and not one.hangs]
        match fault.kind:
            case "unsubscribe":
                return any(one.forget(fault.of) for one in found)
            case "close":
                self._close(found[: fault.count], int(fault.chosen))
            case _:
                self._hang(found[: fault.count], fault.seconds)
        return bool(found)

    def _close(self, connections: list[Connection], code: int) -> None:
        for one in connections:
            if code == _ABNORMAL:
                one.drop()
            else:
                self._start(one.close(code, _REASONS[code]))

    def _hang(self, connections: list[Connection], seconds: float) -> None:
        for one in connections:
            one.hang()
            self._start(self._drop_later(one, seconds))

    async def _drop_later(self, connection: Connection, seconds: float) -> None:
        await self._pass(seconds)
        connection.drop()

    async def _restart(self, seconds: float) -> None:
        self._node.drop_connections()
        await self._node.stop()
        await self._pass(seconds)
        while not await self._opened():  # noqa: ASYNC110 - who has the port meanwhile tells nobody of it
            await asyncio.sleep(_PORT_RETRY_S)
        self._away = False

    async def _opened(self) -> bool:
        with contextlib.suppress(OSError):
            await self._node.open_again()
            return True
        return False

    async def _pass(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._calm.wait(), seconds)

    def _start(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def calm(self) -> None:
        """End what goes on, and wait until it has."""
        self._calm.set()
        await asyncio.gather(*self._tasks)
        self._calm.clear()
