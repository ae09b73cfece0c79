"""One client of PubSub: its subscriptions, and a bounded queue of what it is to be told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

from simulator.faults.frames import Wire
from simulator.node import errors, subscriptions
from simulator.node.jsonrpc import answer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from websockets.asyncio.server import ServerConnection

    from simulator.faults.faults import Faults
    from simulator.node.subscriptions import Kind, Subscription


class Connection:
    """One client. Notifications wait in a bounded queue; who does not read is cut off, as real nodes do it."""

    def __init__(self, socket: ServerConnection, numbers: Iterator[int], faults: Faults, queue_size: int) -> None:
        self._socket = socket
        self._numbers = numbers
        self._faults = faults
        self._wire = Wire(faults.frames)
        self._queue: asyncio.Queue[tuple[Kind, bytes]] = asyncio.Queue(queue_size)
        self._gone = asyncio.Event()
        self.hangs = False
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
            kind, frame = await self._queue.get()
            try:
                if self.hangs:
                    pass
                elif self._faults.quiet and self._wire.quiet:
                    await self._socket.send(frame, text=True)
                else:
                    await self._send_instead(kind, frame)
            except ConnectionClosed:
                self._gone.set()
                return
            self._queue.task_done()

    async def _send_instead(self, kind: Kind, frame: bytes) -> None:
        """Send what the faults make of a notification."""
        await self._faults.gate()
        for text in self._wire.out(kind, frame) * (1 + self._faults.repeat):
            await self._faults.pace(len(text))
            if not self.hangs:
                await self._socket.send(text, text=True)

    def offer(self, kind: Kind, frame: bytes) -> None:
        """Queue a notification; cut the client off if its queue is full."""
        if self.hangs:
            return
        try:
            self._queue.put_nowait((kind, frame))
        except asyncio.QueueFull:
            self.drop()

    async def put(self, kind: Kind, frame: bytes) -> None:
        """Queue a notification, waiting for room while the client is there."""
        if self.hangs or self._gone.is_set():
            return
        if self._queue.full():
            await self._or_gone(self._queue.put((kind, frame)))
        else:
            self._queue.put_nowait((kind, frame))

    async def drained(self) -> None:
        """Wait until everything queued was sent, or the client is gone."""
        if not self.hangs:
            await self._or_gone(self._queue.join())

    async def release(self) -> None:
        """Send what was held back."""
        try:
            for text in self._wire.rest():
                await self._socket.send(text, text=True)
        except ConnectionClosed:
            self._gone.set()

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

    async def close(self, code: int, reason: str) -> None:
        """Close the connection with a word; what was queued is not sent any more."""
        self._gone.set()
        self.subscriptions.clear()
        await self._socket.close(code, reason)

    def hang(self) -> None:
        """Send nothing any more and hear nothing, not even a ping; the connection stays up until `drop`."""
        self.hangs = True
        self.subscriptions.clear()
        self._gone.set()
        self._socket.transport.pause_reading()

    def forget(self, kind: str) -> bool:
        """Drop a subscription (of this kind, "" for any) without a word; return whether there was one."""
        found = next((one.id for one in self.subscriptions.values() if kind in ("", one.kind)), None)
        if found is not None:
            del self.subscriptions[found]
        return found is not None

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
