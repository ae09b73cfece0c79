"""One websocket connection to a node, from its opening to its loss."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from monitor.errors import SourceLost, SourceRefused
from monitor.sources import rpc
from monitor.sources.endpoint import REFUSING_STATUSES, refusal, retry_after_s
from monitor.sources.subscriptions import Acknowledged, Refused, Subscriptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from websockets.asyncio.client import ClientConnection

    from monitor.sources.endpoint import Endpoint
    from monitor.sources.subscriptions import Event

MIB = 1 << 20
_LASTING: Final = frozenset({"unknown_method", "bad_request", "forbidden"})

# The library's debug lines hold request paths, and so API keys: its logger is not among those that users turn on.
_silent = logging.getLogger("monitor.sources.session.websockets")
_silent.disabled = True


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
    connection = await _connect(endpoint, limits)
    session = Session(connection, endpoint, limits)
    try:
        yield session
    finally:
        await session.close()


async def _connect(endpoint: Endpoint, limits: Limits) -> ClientConnection:
    # Errors are told in our own words: those of the library may quote the address. `from None` for the same reason.
    try:
        return await connect(
            endpoint.url,
            additional_headers=dict(endpoint.headers),
            compression=None,
            max_size=limits.max_frame_bytes,
            max_queue=limits.queue_frames,
            open_timeout=limits.open_timeout_s,
            # Pings keep the way open. Their answers wait behind a full queue, so silence is judged by frames alone.
            ping_interval=limits.ping_interval_s,
            ping_timeout=None,
            close_timeout=limits.close_timeout_s,
            logger=_silent,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        if status in REFUSING_STATUSES:
            raise refusal(endpoint, status) from None
        asked = retry_after_s(error.response.headers.get("Retry-After"), datetime.now(UTC))
        raise SourceLost(f"{endpoint} answers HTTP {status}", retry_after_s=asked, kind="http") from None
    except InvalidURI:
        raise SourceRefused(f"{endpoint} is no websocket address", mend="it begins with ws:// or wss://") from None
    except InvalidHandshake as error:
        raise SourceLost(f"{endpoint} does not speak websocket ({type(error).__name__})", kind="handshake") from None
    except TimeoutError:
        raise SourceLost(f"{endpoint} does not answer within {limits.open_timeout_s:g} s", kind="timeout") from None
    except OSError as error:
        raise SourceLost(f"{endpoint} cannot be reached: {error.strerror or error}", kind="unreachable") from None


class Session:
    """
    A connection with its subscriptions. `waited_s` is how long it has waited for frames, all in all.

    Silence is measured while we wait for a frame, not while we are busy with one.
    """

    def __init__(self, connection: ClientConnection, endpoint: Endpoint, limits: Limits) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self.waited_s = 0.0
        self._subscriptions = Subscriptions({})
        self._early: deque[tuple[bytes, rpc.Message]] = deque()
        self._waiting_since: float | None = None
        self._is_stalled = False
        self._stall_timer = self._loop.call_later(limits.stall_timeout_s, self._check_stall)

    async def subscribe(self, wanted: Mapping[str, rpc.Request]) -> None:
        """
        Ask for subscriptions by label, and wait until each is acknowledged. What comes meanwhile is kept for `receive`.

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
                case _:
                    self._early.append((raw, message))
                    kept_bytes += len(raw)
            if kept_bytes > 2 * self._limits.max_frame_bytes:
                raise SourceLost(f"{self._endpoint} floods us before it acknowledges", kind="flood")

    def _refused(self, refused: Refused) -> SourceLost | SourceRefused:
        error = refused.error
        cause = f"{self._endpoint} refuses {refused.method} ({refused.label}): {error.code} {error.message[:200]}"
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
            return SourceLost(
                f"{self._endpoint} closed the connection ({received.code} {received.reason[:200]})", kind="closed"
            )
        return SourceLost(f"the connection to {self._endpoint} broke", kind="broken")

    def _check_stall(self) -> None:
        now, limit_s = self._loop.time(), self._limits.stall_timeout_s
        idle_s = 0.0 if self._waiting_since is None else now - self._waiting_since
        if idle_s >= limit_s:
            self._is_stalled = True
            self._connection.transport.abort()
        else:
            self._stall_timer = self._loop.call_later(limit_s - idle_s, self._check_stall)
