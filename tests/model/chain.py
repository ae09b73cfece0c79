"""A chain that a test reveals slot by slot, and what each feed tells of a slot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from decoders.core.types import Trade
from monitor.pipeline.pools import PoolMap
from tests.decoders.built import ALL
from tests.pipeline import market
from tests.pipeline.stages import as_told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoders.core.types import Need, TxNotice
    from monitor.sources.notices import AccountSeen

TradeKey = tuple[str, str, str, int]
"""Signature, venue, event and nth."""

_SLOTS, _PER_SLOT = 60, 14


@dataclass(frozen=True)
class Block:
    """A slot that was not skipped: its transactions, whole and in order. `parent_slot` is that of the block before."""

    slot: int
    parent_slot: int
    whole: tuple[TxNotice, ...]

    @property
    def block_time(self) -> int | None:
        """When it was; None if it is empty."""
        return self.whole[0].block_time if self.whole else None

    def as_block(self, feed: str) -> Iterator[TxNotice]:
        """Yield what a feed of blocks (or history) tells of it."""
        for notice in self.whole:
            yield msgspec.structs.replace(notice, feed=feed)

    def as_logs(self, feed: str) -> Iterator[TxNotice]:
        """Yield what a feed of logs tells of it: program by program, each in the order of the block."""
        for program in sorted(ALL.followed):
            named = [copy for copy in self.whole if program in {invoke.program for invoke in copy.invokes or ()}]
            for arrival, copy in enumerate(named, 1):
                yield msgspec.structs.replace(as_told(copy, arrival, feed), program=program)


@dataclass(frozen=True)
class Story:
    """A chain as it will have been: all of it follows from the seed. `trades` are those of each transaction."""

    blocks: tuple[Block, ...]
    trades: dict[str, frozenset[TradeKey]]
    slots: dict[str, int]
    market: market.Recorded

    def answer(self, need: Need) -> TxNotice | AccountSeen:
        """Return what a node answers to a need."""
        answer = self.market.answer(need)
        return answer if need.pool is not None else msgspec.structs.replace(answer, feed="fetch")


@cache
def story(seed: int) -> Story:
    """Return some transactions of a simulated market of every venue, few to a slot, with slots skipped among them."""
    recorded = market.recorded(seed, _SLOTS, _PER_SLOT)
    by_slot: dict[int, list[TxNotice]] = {}
    for notice in recorded.whole:
        by_slot.setdefault(notice.slot, []).append(notice)
    blocks: list[Block] = []
    for slot, found in sorted(by_slot.items()):
        if slot % 11 == 3:
            continue  # skipped, as if a fork had won that nobody voted for
        kept = sorted(found, key=_plainness, reverse=slot % 2 == 0)[: slot % 4]
        kept.sort(key=lambda notice: notice.index or 0)
        blocks.append(Block(slot, blocks[-1].slot if blocks else slot - 1, tuple(kept)))
    told = [notice for block in blocks for notice in block.whole]
    trades = {notice.signature: _trades(notice) for notice in told}
    return Story(tuple(blocks), trades, {notice.signature: notice.slot for notice in told}, recorded)


def _plainness(notice: TxNotice) -> tuple[bool, int]:
    """Return a key that puts first what is rare: other programs than Pump.fun, then anything."""
    programs = {invoke.program for invoke in notice.invokes or ()}
    return not programs & {program for program, pad in ALL.programs.items() if pad.name != "pumpfun"}, notice.index or 0


def _trades(notice: TxNotice) -> frozenset[TradeKey]:
    """Return the trades of a whole copy, which tells them by itself."""
    decoded = ALL.decode(notice, PoolMap())
    assert not decoded.needs
    return frozenset(
        (fact.signature, fact.venue, fact.event, fact.nth) for fact in decoded.facts if isinstance(fact, Trade)
    )
