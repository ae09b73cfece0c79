"""Ask a node over HTTP: raw JSON text out, raw JSON text in, as fast as it lets us."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import httpx2

from monitor.errors import RequestFailed, SourceRefused
from monitor.sources import rpc
from monitor.sources.endpoint import REFUSING_STATUSES, refusal, retry_after_s
from monitor.sources.limiter import TokenBucket
from monitor.sources.tally import RpcTally

if TYPE_CHECKING:
    from types import TracebackType

    import msgspec

    from monitor.sources.endpoint import Endpoint

_LIMITED = 429
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """
    How hard one endpoint is used.

    `burst_s`: seconds' worth of requests that may go at once. `refused_pause_s`: rest after a status such as 401.
    """

    rate_per_s: float = 10.0
    burst_s: float = 1.0
    concurrency: int = 4
    timeout_s: float = 30.0
    refused_pause_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's answer: its result (JSON text, b"null" where there is nothing), and the whole body."""

    result: msgspec.Raw
    body: bytes


class RpcClient:
    """Calls to one endpoint, within its limits. Open it with `async with`."""

    def __init__(self, endpoint: Endpoint, limits: ClientLimits) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.tally = RpcTally()
        self._ids = itertools.count(1)
        self._places = asyncio.Semaphore(limits.concurrency)
        self._bucket = TokenBucket(limits.rate_per_s, max(1.0, limits.rate_per_s * limits.burst_s))
        # The libraries' own lines hold the address, and so API keys.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._http = httpx2.AsyncClient(
            headers={**endpoint.headers, "Content-Type": "application/json"},
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

    async def call(self, request: rpc.Request) -> Answer:
        """
        Ask, and return the answer.

        Raises:
            RequestFailed: If there is none, or it is an error (`code`); one of `kind_of(code)` "limited" has made all
                later calls wait already.
            SourceRefused: If the endpoint does not let us in.
        """
        async with self._places:
            await self._turn()
            loop = asyncio.get_running_loop()
            started_at, outcome = loop.time(), "ok"
            try:
                return await self._ask(request)
            except RequestFailed as error:
                outcome = "no_answer" if error.code is None else str(error.code)
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

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        ready_at = self._bucket.turn(loop.time())
        # Others may lengthen the pause while we sleep.
        while (wait_s := max(ready_at, self._bucket.paused_until) - loop.time()) > 0:  # noqa: ASYNC110 - time, no event
            await asyncio.sleep(wait_s)

    async def _ask(self, request: rpc.Request) -> Answer:
        response = await self._post(request)
        if response.status_code in REFUSING_STATUSES:
            # Whoever goes on asking hears the same; a key may be mended meanwhile, so it is worth a look now and then.
            self._bucket.pause(asyncio.get_running_loop().time() + self.limits.refused_pause_s)
            raise refusal(self.endpoint, response.status_code)
        body = response.content
        self.tally.answer_bytes += len(body)
        read = rpc.read_response(body)
        asked_s = retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC))
        if isinstance(read, rpc.Response) and read.error is None and response.is_success:
            return Answer(read.result, body)
        if isinstance(read, rpc.Malformed) or read.error is None:
            code = None if response.is_success else response.status_code
            cause = read.reason if isinstance(read, rpc.Malformed) and response.is_success else f"HTTP {code}"
        else:
            code, cause = read.error.code, f"{read.error.code} {read.error.message[:200]}"
        if response.status_code == _LIMITED or rpc.kind_of(code) == "limited":
            code = _LIMITED
            self._bucket.pause(asyncio.get_running_loop().time() + (_PAUSE_S if asked_s is None else asked_s))
        raise RequestFailed(f"{request.method} at {self.endpoint}: {cause}", retry_after_s=asked_s, code=code)

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
