"""A simulated market as a node's log subscriptions tell it: what the benchmarks of the database are made of."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from decoders.core import base58
from decoders.core.registry import load
from decoders.core.types import TxNotice
from monitor.data import data_dir, idls_in
from monitor.pipeline.pools import PoolMap
from monitor.sources.capture import FORMAT, Header, Line, Replayer
from monitor.sources.endpoint import Endpoint
from monitor.sources.recorder import Recorder
from simulator.calls import LogWriter
from simulator.chain import Chain, Rules
from simulator.keys import key
from simulator.ledger import Trade
from simulator.market import Market
from simulator.mix import Mix
from simulator.node.subscriptions import logs_result, slot_result
from simulator.rendering import Renderer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from decoders.core.registry import Registry
    from decoders.core.types import Fact
    from monitor.sources.notices import Notice
    from simulator.transaction import Transaction

VENUES = ("pumpfun", "pumpswap")
"""Programs whose logs tell all that there is to know of a trade: nothing is fetched."""
PER_SLOT = 400  # of 400 ms: 1,000 a second
ROOT_DISTANCE = 32
SLOTS = 24_040
"""Number of the subscription to slots; those of programs follow."""
SEED = 7
# About as on a lively day: 25,000 launches and 5 million trades, by wallets of which few trade often and many seldom.
LAUNCH_SHARE = 0.005
WALLETS = 100_000
_NS_A_SLOT = 400_000_000
_HEADER = Header(FORMAT, "logs", "2026-09-21T14:13:20+00:00", "")


class Told(msgspec.Struct, frozen=True, array_like=True):
    """
    What one subscription tells of one transaction: a `result` of a logsNotification.

    `trades` are those of the ledger of its program in it.
    """

    slot: int
    signature: str
    subscription: int
    result: bytes
    trades: int

    @property
    def frame(self) -> bytes:
        """Return the notification."""
        return notification("logs", self.result, self.subscription)


@dataclass(frozen=True, slots=True)
class Tape:
    """A market from its first slot on, as it is told; `programs` by the number of their subscription."""

    told: tuple[Told, ...]
    programs: dict[int, str]

    @property
    def trades(self) -> int:
        """Return how many trades there are in it."""
        return sum(told.trades for told in self.told)

    @property
    def labels(self) -> dict[int, str]:
        """Return what each number of a subscription is."""
        return {SLOTS: "slots", **self.programs}

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield everything that is said, with the nanoseconds since the beginning at which a node does."""
        slot, first_slot = None, self.told[0].slot
        for told in self.told:
            at_ns = (told.slot - first_slot) * _NS_A_SLOT
            if told.slot != slot:
                slot = told.slot
                yield at_ns, slot_frame(slot)
            yield at_ns, told.frame
        assert slot is not None
        yield (slot + 1 - first_slot) * _NS_A_SLOT, slot_frame(slot + 1)

    def notices(self) -> Iterator[Notice]:
        """Yield the notices that the daemon makes of it."""
        heard = Replayer(_HEADER, registry().followed)
        heard.notices(Line(0, mark="connected", labels=self.labels))
        for at_ns, frame in self.frames():
            yield from heard.notices(Line(at_ns, frame=msgspec.Raw(frame)))

    def facts(self) -> list[Fact]:
        """Return the facts that the daemon makes of it."""
        found: list[Fact] = []
        pools, known = PoolMap(), registry()
        for notice in self.notices():
            if isinstance(notice, TxNotice):
                decoded = known.decode(notice, pools)
                assert not decoded.needs, f"this has to be fetched: {decoded.needs}"
                for fact in decoded.facts:
                    pools.learn(fact)
                found += decoded.facts
        return found

    def record(self, path: Path) -> None:
        """Write it as a capture."""
        endpoint = Endpoint("ws://127.0.0.1")
        with Recorder(path, feed="logs", endpoint=endpoint, programs=registry().followed) as recorder:
            recorder.connected(self.labels)
            for _, frame in self.frames():
                recorder.frame(frame)


@cache
def registry() -> Registry:
    """Return the decoders of what is followed."""
    return load(VENUES, idls_in(data_dir("idl")))


def notification(kind: str, result: bytes, subscription: int) -> bytes:
    """Return a notification as Agave writes it."""
    head = b'{"jsonrpc":"2.0","method":"%bNotification","params":{"result":' % kind.encode()
    return b'%b%b,"subscription":%d}}' % (head, result, subscription)


def slot_frame(slot: int) -> bytes:
    """Return the notification that a slot has begun."""
    return notification("slot", slot_result(slot, slot - 1, slot - ROOT_DISTANCE), SLOTS)


@cache
def tape(notifications: int, *, seed: int = SEED, per_slot: int = PER_SLOT) -> Tape:
    """Return a market of so many notifications, told slot by slot, subscription by subscription."""
    rules = Rules(skipped_share=0.0, kept_blocks=2, kept_transactions=per_slot)
    market = Market(seed, Mix(launch=LAUNCH_SHARE, lab=0.0, wallets=WALLETS))
    chain = Chain(market, seed, rules)
    renderer = Renderer(market.world.bank, LogWriter(), None)
    programs = {SLOTS + 1 + number: address for number, address in enumerate(sorted(registry().followed))}
    told: list[Told] = []
    collects = gc.isenabled()
    gc.disable()  # what is kept has no cycles, and looking for some took half of the time
    try:
        while len(told) < notifications:
            block = chain.next_slot(per_slot)
            assert block is not None
            trades = Counter((entry.said.signature, entry.said.program) for entry in market.world.ledger.of(Trade))
            told += _told(block.transactions, renderer, programs, trades)
            market.world.ledger.entries.clear()
    finally:
        if collects:
            gc.enable()
    return Tape(tuple(told[:notifications]), programs)


def _told(
    transactions: list[Transaction], renderer: Renderer, programs: dict[int, str], trades: Counter[tuple[bytes, bytes]]
) -> Iterator[Told]:
    """Yield what is told of a block: subscription by subscription, each in the order of the block."""
    mentions = [tx.mentions() for tx in transactions]
    results: dict[int, bytes] = {}
    for subscription, address in programs.items():
        wanted = key(address)
        for number, tx in enumerate(transactions):
            if wanted in mentions[number]:
                if number not in results:
                    results[number] = logs_result(tx, renderer)
                said = trades[tx.signature, wanted]
                yield Told(tx.slot, base58.encode(tx.signature), subscription, results[number], said)
