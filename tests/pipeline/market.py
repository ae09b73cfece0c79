"""A simulated market, transaction by transaction: as its blocks hold it, and what a node answers about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from decoders.core import base58
from monitor.sources.notices import AccountSeen
from simulator import accounts
from simulator.calls import LogWriter
from simulator.chain import Chain, Rules
from simulator.keys import key
from simulator.market import Market
from simulator.rendering import Renderer
from tests.decoders.built import ALL
from tests.simulator import reading

if TYPE_CHECKING:
    from decoders.core.types import Need, TxNotice

_LOG_LIMIT_BYTES = 10_000


@dataclass(frozen=True)
class Recorded:
    """Whole copies in the order of the chain, and the market as it stands after the last one."""

    whole: tuple[TxNotice, ...]
    market: Market

    def account(self, address: str) -> AccountSeen:
        """Return the answer about an account."""
        found = accounts.find(self.market.world, key(address))
        if found is None:
            return AccountSeen(address, None, b"", self.whole[-1].slot, "fetch")
        return AccountSeen(address, base58.encode(found.owner), found.data, self.whole[-1].slot, "fetch")

    def answer(self, need: Need) -> TxNotice | AccountSeen:
        """Return what a node answers to a need."""
        if need.pool is not None:
            return self.account(need.pool)
        return next(notice for notice in self.whole if notice.signature == need.signature)


@cache
def recorded(seed: int, slots: int = 30, per_slot: int = 20) -> Recorded:
    """Return a market of some slots, with launches, dumps, completions, graduations and failed transactions."""
    market = Market(seed)
    chain = Chain(market, seed, Rules(skipped_share=0.1))
    renderer = Renderer(market.world.bank, LogWriter(), _LOG_LIMIT_BYTES)
    blocks = [block for block in (chain.next_slot(per_slot) for _ in range(slots)) if block is not None]
    notices = [
        reading.notice(renderer, block, tx, "json", ALL.followed) for block in blocks for tx in block.transactions
    ]
    return Recorded(tuple(notice for notice in notices if notice is not None), market)
