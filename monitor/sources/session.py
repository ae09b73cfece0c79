"""One websocket connection to a node, from its opening to its loss."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from websockets.exceptions import ConnectionClosed

from monitor.errors import SourceLost, SourceRefused
from monitor.sources import rpc
from monitor.sources.connection import connect_to
from monitor.sources.subscriptions import Acknowledged, Refused, Subscriptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from monitor.sources.connection import Connection
    from monitor.sources.endpoint import Endpoint
    from monitor.sources.subscriptions import Event

MIB = 1 << 20
_LEAST_BYTES = 64 << 10
_LASTING: Final = frozenset({"unknown_method", "bad_request", "forbidden"})


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Timeouts and sizes of a connection. A frame holds a whole block at most: 32 MiB are not always enough.

    `subscription_silence_s` is how long one of several subscriptions may be silent, at the least, while others tell
    something (see `Silence`).
    """

    open_timeout_s: float = 10.0
    acknowledge_timeout_s: float = 15.0
    stall_timeout_s: float = 20.0
    subscription_silence_s: float = 60.0
    ping_interval_s: float = 20.0
    close_timeout_s: float = 1.0
    max_frame_bytes: int = 64 * MIB
    queue_frames: int = 256


@asynccontextmanager
async def open_session(endpoint: Endpoint, limits: Limits) -> AsyncGenerator[Session, None]:
    """
    Connect, and hold the connection for as long as the block runs.

    Raises:
        SourceLost: If the node cannot be reached now.
        SourceRefused: If it will never let us in like this.
    """
    connection = await connect_to(endpoint, limits)
    session = Session(connection, endpoint, limits)
    try:
        yield session
    finally:
        await session.close()


class Session:
    """
    A connection with its subscriptions. `waited_s` is how long it has waited for frames, all in all.

    Silence is measured while we wait for a frame, not while we are busy with one, nor while a large one trickles in.
    """

    def __init__(self, connection: Connection, endpoint: Endpoint, limits: Limits) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self.waited_s = 0.0
        self._subscriptions = Subscriptions({})
        self._early: deque[tuple[bytes, rpc.Message]] = deque()
        self._waiting_since: float | None = None
        self._heard_bytes = 0
        self._is_stalled = False
        self._stall_timer = self._loop.call_later(limits.stall_timeout_s, self._check_stall)

    async def subscribe(self, wanted: Mapping[str, rpc.Request]) -> None:
        """
        Ask for subscriptions by label, and wait until each is acknowledged.

        What comes meanwhile is kept for `receive`, but for slots: a feed claims everything from the first slot on that
        it hears, and that one has to be of a time when every subscription stood.

        Raises:
            SourceLost: If the connection breaks, or not every answer comes in time.
            SourceRefused: If the node does not serve one of them.
        """
        self._subscriptions = Subscriptions(wanted)
        try:
            async with asyncio.timeout(self._limits.acknowledge_timeout_s):
                for number, (_, request) in self._subscriptions.requests.items():
                    await self._send(rpc.encode(request, number))
                await self._acknowledgements()
        except TimeoutError:
            missing = ", ".join(self._subscriptions.waiting)
            waited_s = self._limits.acknowledge_timeout_s
            raise SourceLost(
                f"{self._endpoint} did not acknowledge {missing} within {waited_s:g} s", kind="unacknowledged"
            ) from None

    @property
    def labels(self) -> Mapping[int, str]:
        """Labels of the subscriptions that stand, by the node's numbers."""
        return self._subscriptions.labels

    async def receive(self) -> tuple[bytes, Event]:
        """
        Return the next frame and what it means.

        Raises:
            SourceLost: If the connection broke, or was silent for too long.
        """
        if self._early:
            raw, message = self._early.popleft()
        else:
            raw = await self._frame()
            message = rpc.read_message(raw)
        return raw, self._subscriptions.take(message)

    async def close(self) -> None:
        """Close the connection, without waiting long for the other side's consent."""
        self._stall_timer.cancel()
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                await self._connection.close()
        except TimeoutError:
            pass  # a full queue or a dead peer holds the close frame back (python-websockets#1555)
        finally:
            self._connection.transport.abort()

    async def _acknowledgements(self) -> None:
        kept_bytes = 0
        while self._subscriptions.waiting:
            raw = await self._frame()
            message = rpc.read_message(raw)
            match self._subscriptions.take(message):
                case Acknowledged():
                    continue
                case Refused() as refused:
                    raise self._refused(refused)
                case _ if isinstance(message, rpc.SlotNotification):
                    continue
                case _:
                    self._early.append((raw, message))
                    kept_bytes += len(raw)
            if kept_bytes > 2 * self._limits.max_frame_bytes:
                raise SourceLost(f"{self._endpoint} floods us before it acknowledges", kind="flood")

    def _refused(self, refused: Refused) -> SourceLost | SourceRefused:
        error = refused.error
        said = self._endpoint.hide(error.message)[:200]
        cause = f"{self._endpoint} refuses {refused.method} ({refused.label}): {error.code} {said}"
        if error.kind not in _LASTING:
            return SourceLost(cause, kind="refused")
        if error.kind == "unknown_method" and refused.method == "blockSubscribe":
            return SourceRefused(
                cause, mend='start the node with --rpc-pubsub-enable-block-subscription, or use feed = "logs"'
            )
        instead = ', or feed = "logs"' if refused.method == "transactionSubscribe" else ""
        return SourceRefused(cause, mend=f"use a provider and plan with {refused.method}{instead}")

    async def _send(self, text: bytes) -> None:
        try:
            await self._connection.send(text, text=True)
        except ConnectionClosed as error:
            raise self._lost(error) from None

    async def _frame(self) -> bytes:
        self._waiting_since = began_at = self._loop.time()
        self._heard_bytes = self._connection.heard_bytes
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise self._lost(error) from None
        finally:
            self._waiting_since = None
            self.waited_s += self._loop.time() - began_at

    def _lost(self, error: ConnectionClosed) -> SourceLost:
        if self._is_stalled:
            return SourceLost(f"{self._endpoint} was silent for {self._limits.stall_timeout_s:g} s", kind="silent")
        sent, received = error.sent, error.rcvd
        if sent is not None and sent.code == 1009:
            return SourceLost(
                f"{self._endpoint} sent a frame over {self._limits.max_frame_bytes} bytes", kind="oversized"
            )
        if received is not None:
            said = self._endpoint.hide(received.reason)
            return SourceLost(f"{self._endpoint} closed the connection ({received.code} {said})", kind="closed")
        return SourceLost(f"the connection to {self._endpoint} broke", kind="broken")

    def _check_stall(self) -> None:
        now, limit_s = self._loop.time(), self._limits.stall_timeout_s
        idle_s = 0.0 if self._waiting_since is None else now - self._waiting_since
        if idle_s < limit_s:
            self._stall_timer = self._loop.call_later(limit_s - idle_s, self._check_stall)
        elif self._connection.heard_bytes - self._heard_bytes >= _LEAST_BYTES:
            self._heard_bytes = self._connection.heard_bytes
            self._stall_timer = self._loop.call_later(limit_s, self._check_stall)
        else:
            self._is_stalled = True
            self._connection.transport.abort()
