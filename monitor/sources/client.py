"""Ask a node over HTTP: raw JSON text out, raw JSON text in, as fast as it lets us."""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Self

import httpx2

from monitor.errors import RequestFailed, SourceRefused
from monitor.sources import rpc
from monitor.sources.backoff import Backoff
from monitor.sources.endpoint import REFUSING_STATUSES, refusal, retry_after_s
from monitor.sources.limiter import TokenBucket
from monitor.sources.tally import RpcTally

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from types import TracebackType

    import msgspec

    from monitor.sources.endpoint import Endpoint

_LIMITED = 429
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
# A date that was meant for another clock would silence us for ever.
_LONGEST_ASKED_S = 3_600.0


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """
    How hard one endpoint is used.

    `rate_per_s` counts requests of all methods, `rates_per_s` those of one method besides. `burst_s`: seconds' worth of
    requests that may go at once. `refused_pause_s`: rest after a status such as 401, and after the next one.
    """

    rate_per_s: float = 10.0
    rates_per_s: Mapping[str, float] = field(default_factory=dict)
    burst_s: float = 1.0
    concurrency: int = 4
    timeout_s: float = 30.0
    refused_pause_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's answer: its result (JSON text, b"null" where there is nothing), and the whole body."""

    result: msgspec.Raw
    body: bytes


@cache
def _trusted() -> ssl.SSLContext:
    """Return whose certificates are trusted, read once: a client by itself takes 30 ms for it."""
    return httpx2.create_ssl_context()


class RpcClient:
    """Calls to one endpoint, within its limits. Open it with `async with`."""

    def __init__(self, endpoint: Endpoint, limits: ClientLimits) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.tally = RpcTally()
        self._ids = itertools.count(1)
        self._places = asyncio.Semaphore(limits.concurrency)
        self._bucket = _bucket(limits.rate_per_s, limits)
        self._buckets = {method: _bucket(rate, limits) for method, rate in limits.rates_per_s.items()}
        self._pauses = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._is_refused = False
        self._probing = asyncio.Lock()
        # The libraries' own lines hold the address, and so API keys.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._http = httpx2.AsyncClient(
            headers={**endpoint.headers, "Content-Type": "application/json"},
            verify=_trusted(),
            timeout=limits.timeout_s,
            limits=httpx2.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    @property
    def tallies(self) -> Mapping[str, RpcTally]:
        """The counts by endpoint: this one."""
        return {str(self.endpoint): self.tally}

    @property
    def rests_until(self) -> float:
        """Loop time (s) before which no request goes out, since the endpoint limits or refuses us."""
        return self._bucket.paused_until

    async def call(self, request: rpc.Request) -> Answer:
        """
        Ask, and return the answer.

        Raises:
            RequestFailed: If there is none, or it is an error (`code`); one of `kind_of(code)` "limited" has made all
                later calls wait already.
            SourceRefused: If the endpoint does not let us in. One call at a time finds out whether it does again.
        """
        loop = asyncio.get_running_loop()
        bucket = self._buckets.get(request.method)
        if bucket is not None:  # without a place: other methods may go meanwhile
            await _wait_until(bucket.turn(loop.time()))
        async with self._places, self._turn():
            started_at, outcome = loop.time(), "ok"
            try:
                return await self._ask(request)
            except RequestFailed as error:
                outcome = rpc.code_label(error.code)
                raise
            except SourceRefused:
                outcome = "refused"
                raise
            except asyncio.CancelledError:
                outcome = "cancelled"
                raise
            finally:
                self.tally.requests[request.method, outcome] += 1
                self.tally.seconds[request.method] += loop.time() - started_at

    async def each(self, request: rpc.Request) -> Sequence[Answer]:
        """Ask every endpoint: this one. Raises as `call`."""
        return [await self.call(request)]

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Wait for a turn; while we are refused there is one at a time, and what it brings decides about the next."""
        ready_at = self._bucket.turn(asyncio.get_running_loop().time())
        await self._ready(ready_at)
        if not self._is_refused:
            yield
            return
        async with self._probing:
            await self._ready(ready_at)
            yield

    async def _ready(self, ready_at: float) -> None:
        loop = asyncio.get_running_loop()
        # Others may lengthen the pause while we sleep.
        while (until := max(ready_at, self._bucket.paused_until)) > loop.time():
            await _wait_until(until)

    async def _ask(self, request: rpc.Request) -> Answer:
        response = await self._post(request)
        if response.status_code in REFUSING_STATUSES:
            # Whoever goes on asking hears the same; a key may be mended meanwhile, so it is worth a look now and then.
            self._is_refused = True
            self._pause(self.limits.refused_pause_s)
            raise refusal(self.endpoint, response.status_code)
        self._is_refused = False
        body = response.content
        self.tally.answer_bytes += len(body)
        read = rpc.read_response(body)
        asked_s = retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC))
        if isinstance(read, rpc.Response) and read.error is None and response.is_success:
            self._pauses.succeeded()
            return Answer(read.result, body)
        code, cause = _failure(read, response, self.endpoint)
        if response.status_code == _LIMITED or rpc.kind_of(code, cause) == "limited":
            code = _LIMITED
            self._pause(self._limited_pause_s() if asked_s is None else asked_s)
        elif asked_s is not None:  # such as a 503 that tells when it is over
            self._pause(asked_s)
        raise RequestFailed(f"{request.method} at {self.endpoint}: {cause}", retry_after_s=asked_s, code=code)

    def _limited_pause_s(self) -> float:
        # Several under way hear the same: that is one limit, and not one after the other.
        is_new = self.rests_until <= asyncio.get_running_loop().time()
        return self._pauses.failed() if is_new else 0.0

    def _pause(self, pause_s: float) -> None:
        self._bucket.pause(asyncio.get_running_loop().time() + min(pause_s, _LONGEST_ASKED_S))

    async def _post(self, request: rpc.Request) -> httpx2.Response:
        where = f"{request.method} at {self.endpoint}"
        no_address = SourceRefused(f"{self.endpoint} is no HTTP address", mend="it begins with http:// or https://")
        if not self.endpoint.url.startswith(("http://", "https://")):
            raise no_address
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return await self._http.post(self.endpoint.url, content=rpc.encode(request, next(self._ids)))
        except (TimeoutError, httpx2.TimeoutException):
            raise RequestFailed(f"{where}: no answer within {self.limits.timeout_s:g} s") from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise no_address from None
        except httpx2.HTTPError as error:
            raise RequestFailed(f"{where}: {type(error).__name__}") from None
        except AttributeError as error:
            # Of a connection that was reset as soon as it stood uvloop has no socket any more, and anyio asks that for
            # its peer all the same.
            if error.name != "getpeername":
                raise
            raise RequestFailed(f"{where}: the connection was reset") from None


def _bucket(rate_per_s: float, limits: ClientLimits) -> TokenBucket:
    return TokenBucket(rate_per_s, max(1.0, rate_per_s * limits.burst_s))


async def _wait_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))


def _failure(
    read: rpc.Response | rpc.Malformed, response: httpx2.Response, endpoint: Endpoint
) -> tuple[int | None, str]:
    """Return the code of an answer that is none, the node's first (None: it has none), and what is wrong."""
    if isinstance(read, rpc.Response) and read.error is not None:
        return read.error.code, f"{read.error.code} {endpoint.hide(read.error.message)[:200]}"
    if isinstance(read, rpc.Malformed) and response.is_success:
        return None, read.reason
    return response.status_code, f"HTTP {response.status_code}"
