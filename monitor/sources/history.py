"""Fill holes: fetch the blocks and transactions that no feed told, oldest first, beside the live feed."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import structlog

from decoders.core.transaction import TransactionError
from monitor.errors import RequestFailed, SourceLost, SourceRefused, StoreUnavailable
from monitor.sources.blocks import Block, Blocks
from monitor.sources.filling import Filling
from monitor.sources.notices import HISTORY, HoleFilled
from monitor.sources.pieces import HistoryRules, Lack, Work
from monitor.sources.proving import Prover, lack_of
from monitor.sources.tally import HistoryTally
from monitor.tasks import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from decoders.core.types import TxNotice
    from monitor.sources.clients import Rpc
    from monitor.sources.notices import Outlet
    from monitor.sources.rpc import Commitment

log = structlog.get_logger(__name__)

SETTLED_REASONS = frozenset({"told_after_final", "not_final", "audit"})
"""Holes of these reasons are in doubt rather than missing: what the finalized chain holds there is told as such."""


class OpenHole(Protocol):
    """Something known to be missing: all of the slots, or (`signature` set) one transaction in them."""

    @property
    def id(self) -> int:
        """Its number in the database."""

    @property
    def first_slot(self) -> int:
        """First slot."""

    @property
    def last_slot(self) -> int:
        """Last slot."""

    @property
    def signature(self) -> str | None:
        """The transaction; None: everything in these slots."""

    @property
    def reason(self) -> str:
        """Why it is one."""

    @property
    def filled_through(self) -> int | None:
        """Everything up to and including this slot is there by now; None: nothing."""


class Holes(Protocol):
    """Where holes are kept. Each call may raise StoreUnavailable, and is repeated then."""

    async def open_holes(self, limit: int, without: Iterable[int] = ()) -> Sequence[OpenHole]:
        """Return open holes but those of the ids `without`, oldest slots first."""

    async def hole_failed(self, hole_id: int, reason: str) -> None:
        """Note that a try to fill one failed."""


class History:
    """
    Fills holes for as long as it runs.

    What was missing goes into the outlet (feed "history"), in the order of slots, with `HolePart` and `SlotSettled` as
    far as it is proven, then `HoleFilled`. What cannot be had leaves the hole open, with the reason noted, and is tried
    again later. A transaction that the node does not know is settled by its slot: if the finalized chain does not hold
    it there, it vanished with a fork, and nothing is missing. Holes take turns, oldest first. `tally` counts.
    """

    def __init__(
        self,
        client: Rpc,
        programs: frozenset[str],
        holes: Holes,
        *,
        commitment: Commitment = "confirmed",
        rules: HistoryRules | None = None,
        final_slot: Callable[[], int] | None = None,
    ) -> None:
        """`final_slot` tells up to which slot the chain is final: what lies there is read from the finalized one."""
        self.name = HISTORY
        self.tally = HistoryTally()
        self._holes = holes
        # Half of what the client may do at once: the other half serves what the live feed lacks.
        at_once = max(1, client.limits.concurrency // 2)
        # Where each piece is but one large block, as many are under way as may be.
        self._rules = rules or HistoryRules(pieces_at_once=max(HistoryRules.LEAST_AT_ONCE, at_once))
        most_failures = self._rules.most_failures
        self._blocks = Blocks(
            client, programs, commitment, at_once=at_once, most_failures=most_failures, final_slot=final_slot
        )
        self._filling = Filling(self._rules, self.tally)
        self._works: dict[int, Work] = {}
        self._had_turn: set[int] = set()
        self._brought: dict[tuple[int, str], TxNotice] = {}
        self._wake = asyncio.Event()

    def committed(self, filled: Collection[int] = ()) -> None:
        """Look at the holes again: some were recorded or filled. `filled` are the ids of the latter."""
        for hole_id in filled:
            self._works.pop(hole_id, None)
        self._wake.set()

    async def run(self, out: Outlet) -> None:
        """Fill holes for ever. Ends when cancelled: what is open then is found again in the database."""
        while True:
            self._wake.clear()
            now = asyncio.get_running_loop().time()
            hole = await self._next(now)
            if hole is None:
                await self._something_to_do(now)
            else:
                await self._try(hole, out)
                if self._blocks.node.failures >= self._rules.most_failures:
                    tries = self._blocks.node.failures - self._rules.most_failures + 1
                    await asyncio.sleep(min(self._rules.retry_s(tries), self._rules.longest_pause_s))

    async def _next(self, now: float) -> OpenHole | None:
        """Return the oldest open hole that is due and had no turn yet, or had one; None: there is none."""
        resting = [hole_id for hole_id, work in self._works.items() if work.due_at > now]
        found = await self._oldest([*resting, *self._had_turn])
        if found is None and self._had_turn:
            self._had_turn.clear()
            found = await self._oldest(resting)
        return found

    async def _oldest(self, without: list[int]) -> OpenHole | None:
        found = await retry(
            lambda: self._holes.open_holes(1, without), what="open_holes", transient=(StoreUnavailable,)
        )
        return found[0] if found else None

    async def _something_to_do(self, now: float) -> None:
        # What was due by then and did not come is not open any more.
        self._works = {hole_id: work for hole_id, work in self._works.items() if work.due_at > now}
        # Other processes file holes as well, and wake nobody.
        next_at = min((work.due_at for work in self._works.values()), default=math.inf)
        try:
            async with asyncio.timeout_at(min(next_at, now + self._rules.look_every_s)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _try(self, hole: OpenHole, out: Outlet) -> None:
        first_slot = hole.first_slot if hole.filled_through is None else hole.filled_through + 1
        work = self._works.setdefault(hole.id, Work(first_slot, hole.last_slot))
        self._had_turn.add(hole.id)
        self._blocks.node.begin()
        was_through = work.proven_through
        lack = await self._fill(hole, work, out)
        is_filled = lack is None and (hole.signature is not None or work.is_proven)
        if work.proven_through > was_through or is_filled:
            work.tries = 0
        is_over = is_filled or (lack is not None and (lack.is_node or hole.signature is not None or work.is_through))
        if not is_over:
            return  # its next turn comes after those of the others
        work.tries += 1
        wait_s = self._rules.told_rest_s
        if lack is not None:
            wait_s = self._rules.retry_s(work.tries, is_soon=lack.is_soon)
        work.due_at = asyncio.get_running_loop().time() + wait_s
        _log(hole, work.tries, wait_s, lack)
        if lack is None:
            self.tally.filled += 1
            await out.put(HoleFilled(hole.id, hole.first_slot, hole.last_slot, hole.signature))
            return
        self.tally.failed += 1
        reason = lack.reason
        await retry(lambda: self._holes.hole_failed(hole.id, reason), what="hole_failed", transient=(StoreUnavailable,))

    async def _fill(self, hole: OpenHole, work: Work, out: Outlet) -> Lack | None:
        """Deliver what is missing, as much of it as a turn has; return why something of that could not be had."""
        try:
            unknown: Lack | None = None
            if hole.signature is not None:
                unknown = await self._fill_signature(hole.first_slot, hole.signature, out)
                if unknown is None:
                    return None
            # Nobody knows it? It may have vanished with a fork: the finalized chain tells what its slot holds.
            is_settled = unknown is not None or hole.reason in SETTLED_REASONS
            blocks = self._blocks.at("finalized") if is_settled else self._blocks
            prover = Prover(blocks, look_ahead_slots=self._rules.look_ahead_slots)
            lack = await self._filling.fill(hole.id, work, prover, out, is_settled=is_settled)
            return lack if lack is None or unknown is None else replace(lack, reason=f"{unknown.reason}; {lack.reason}")
        except RequestFailed as error:
            return lack_of(hole.first_slot, error)
        except SourceLost as error:
            return Lack(str(error), is_node=True)
        except SourceRefused as error:
            return Lack(str(error), is_soon=False, is_node=True)
        except TransactionError as error:
            return Lack(str(error), is_soon=False)

    async def _fill_signature(self, slot: int, signature: str, out: Outlet) -> Lack | None:
        """
        Deliver one transaction, along with its block where that is to be had.

        By itself it has no place among its neighbours that were told by arrival, so that it is not known whose reserves
        are the latest.
        """
        known = self._brought.pop((slot, signature), None)  # holes of one slot follow each other
        if known is not None:
            await out.put(known)
            return None
        block = await self._blocks.block(slot)
        if isinstance(block, SourceLost | SourceRefused):
            raise block
        if isinstance(block, Block) and signature in {notice.signature for notice in block.notices}:
            await self._filling.put(block, out)
            self._brought = {(slot, notice.signature): notice for notice in block.notices}
            del self._brought[slot, signature]
            return None
        notice = await self._blocks.transaction(signature, slot)
        if notice is None:
            return Lack("the node does not know the transaction", is_soon=False)
        self.tally.transactions += 1
        await out.put(notice)
        return None


def _log(hole: OpenHole, tries: int, wait_s: float, lack: Lack | None) -> None:
    where = {"hole_id": hole.id, "first_slot": hole.first_slot, "last_slot": hole.last_slot, "tries": tries}
    if hole.signature is not None:  # there may be thousands
        log.debug("transaction_sought", **where, signature=hole.signature, reason=lack.reason if lack else None)
    elif lack is None:
        log.info("hole_filled", **where)
    else:
        log.warning("hole_left_open", **where, wait_s=wait_s, reason=lack.reason)


__all__ = ["SETTLED_REASONS", "History", "HistoryRules", "Holes", "OpenHole"]
