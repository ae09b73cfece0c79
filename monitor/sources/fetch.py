"""Fetch what a feed could not tell: whole transactions, accounts of pools, and times of slots."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from decoders.core.transaction import TransactionError
from decoders.core.types import TxNotice
from monitor.errors import RequestFailed, SourceRefused
from monitor.sources import rpc
from monitor.sources.jobs import FetchBlock, FetchTime, read_result, request_of
from monitor.sources.notices import FETCH, AccountSeen, SlotTime
from monitor.sources.pending import Pending, Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.types import Need
    from monitor.sources.clients import Rpc
    from monitor.sources.jobs import Job
    from monitor.sources.notices import Notice, Outlet

log = structlog.get_logger(__name__)

# A slot whose block (or time) this node will never give: its transactions may still be had one by one.
_NO_BLOCK = frozenset({"not_there", "pruned", "no_history", "version", "unknown_method", "bad_request", "forbidden"})


class AnswerTap(Protocol):
    """Who hears every answer, word by word: a recorder."""

    def answer(self, job: Job, body: bytes) -> None:
        """The node answered a job with this HTTP body, which is no error."""


class Fetcher:
    """
    Serves needs until each is met or given up.

    Whole copies (feed "fetch"), `AccountSeen`, `SlotTime` and `FetchGaveUp` go into the outlet; one of these comes for
    every need, unless it is met by another way (`satisfied`, `timed`). A pool whose account is gone is told (`owner`
    None), and its transactions are fetched; so are those of a slot whose time is not to be had.
    """

    def __init__(
        self,
        client: Rpc,
        programs: frozenset[str],
        *,
        commitment: rpc.Commitment = "confirmed",
        rules: Rules | None = None,
        tap: AnswerTap | None = None,
    ) -> None:
        self.name = FETCH
        self._client = client
        self._programs = programs
        self._commitment: rpc.Commitment = commitment
        self._tap = tap
        self._pending = Pending(rules or Rules())
        self._in_flight = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Return how many transactions, accounts and times are waited for."""
        return len(self._pending)

    def want(self, need: Need) -> None:
        """Begin to look for a whole copy, a pool or a slot's time. What is looked for is not looked for twice."""
        self._pending.want(need, asyncio.get_running_loop().time())
        self._wake.set()

    def satisfied(self, signature: str) -> None:
        """Stop looking for a transaction: a whole copy came by another way."""
        self._pending.arrived(signature)

    def timed(self, slot: int) -> None:
        """Stop looking for the time of a slot: it came by another way."""
        self._pending.timed(slot)

    async def run(self, out: Outlet) -> None:
        """Serve for ever. Ends when cancelled; of what is open then, decode makes holes."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                loop = asyncio.get_running_loop()
                free = self._client.limits.concurrency - self._in_flight
                for job in self._pending.take(loop.time(), free):
                    self._in_flight += 1
                    tasks.create_task(self._serve(job, out))
                for gave_up in self._pending.expired():
                    log.info("fetch_gave_up", signature=gave_up.signature, slot=gave_up.slot, reason=gave_up.reason)
                    await out.put(gave_up)
                await self._something_to_do()

    async def _something_to_do(self) -> None:
        is_full = self._in_flight >= self._client.limits.concurrency
        # Places may be held up for long by a node that limits or refuses us; what waits is given up in time even so.
        times = (None if is_full else self._pending.next_at(), self._pending.gives_up_at())
        try:
            async with asyncio.timeout_at(min((at for at in times if at is not None), default=None)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _serve(self, job: Job, out: Outlet) -> None:
        try:
            notices = await self._ask(job)
            if notices is not None:
                await self._deliver(job, notices, out)
        finally:
            self._in_flight -= 1
            self._wake.set()

    async def _ask(self, job: Job) -> Sequence[Notice] | None:
        """Return what a job brought; None if nothing, which has been noted."""
        loop = asyncio.get_running_loop()
        try:
            answer = await self._client.call(request_of(job, self._commitment))
            notices = read_result(job, answer.result, self._programs)
        except RequestFailed as error:
            alone = isinstance(job, FetchBlock | FetchTime) and rpc.kind_of(error.code) in _NO_BLOCK
            self._pending.failed(job, loop.time(), str(error), alone=alone)
        except (SourceRefused, TransactionError) as error:
            log.warning("fetch_failed", job=repr(job)[:200], error=str(error))
            no_time = isinstance(job, FetchTime) and isinstance(error, TransactionError)
            self._pending.failed(job, loop.time(), str(error), alone=isinstance(job, FetchBlock) or no_time)
        else:
            if self._tap is not None and notices:
                self._tap.answer(job, answer.body)
            return notices
        return None

    async def _deliver(self, job: Job, notices: Sequence[Notice], out: Outlet) -> None:
        # Each one is struck off as soon as it is put: whoever reads it may want it again, for another reason.
        for notice in notices:
            await out.put(notice)
            match notice:
                case TxNotice(signature=signature):
                    self._pending.arrived(signature)
                case AccountSeen(address=address, owner=None):
                    self._pending.absent(address, asyncio.get_running_loop().time())
                case SlotTime(slot=slot):
                    self._pending.timed(slot)
                case AccountSeen(address=address):
                    self._pending.arrived(address)
        self._pending.answered(job, asyncio.get_running_loop().time())
