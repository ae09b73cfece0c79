"""What the stages are given in tests: our own Protocols, kept by objects that remember what they were asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from decoders.core.types import Fact, TxNotice
from monitor.channel import Channel
from monitor.errors import Closed
from monitor.pipeline.decode import Decoding
from monitor.pipeline.feeds import Feeds
from monitor.pipeline.ledger import Ledger
from monitor.pipeline.pending import Pending
from monitor.pipeline.pools import PoolMap
from monitor.store.batch import Written
from tests.decoders.built import ALL, RAW, TIME_S, Call, Event, notice

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from decoders.core.types import Need
    from monitor.errors import MonitorError
    from monitor.store.batch import Batch

Identity = tuple[str, str, str, int, str]


@dataclass
class Wishes:
    """A fetcher that fetches nothing."""

    wanted: list[Need] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    timed_slots: list[int] = field(default_factory=list)

    def want(self, need: Need) -> None:
        """Remember it."""
        self.wanted.append(need)

    def satisfied(self, signature: str) -> None:
        """Remember it."""
        self.met.append(signature)

    def timed(self, slot: int) -> None:
        """Remember it."""
        self.timed_slots.append(slot)


@dataclass
class Books:
    """
    A database that holds every batch it was given.

    `errors` are raised first, one for each attempt. While `open` is clear, commits wait; `begun` is set by the first
    attempt. `loses` are facts of which the answer says nothing.
    """

    launched: Collection[str] = ()
    errors: list[MonitorError] = field(default_factory=list)
    loses: Callable[[Fact], bool] = lambda _: False
    tried: list[Batch] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    asked: list[set[str]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin open."""
        self.open.set()

    @property
    def facts(self) -> list[Fact]:
        """Return every fact committed, in order."""
        return [fact for batch in self.batches for fact in batch.facts]

    async def write(self, batch: Batch) -> Written:
        """Take a batch."""
        self.tried.append(batch)
        self.begun.set()
        if self.errors:
            raise self.errors.pop(0)
        await self.open.wait()
        self.batches.append(batch)
        return Written(len(self.batches), new=[fact for fact in batch.facts if not self.loses(fact)])

    async def known_mints(self, mints: Collection[str]) -> set[str]:
        """Answer a question."""
        self.asked.append(set(mints))
        if self.errors:
            raise self.errors.pop(0)
        return set(mints) & set(self.launched)


@dataclass
class Watching:
    """Hears how the commits go."""

    rows: list[int] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """Remember it."""
        assert seconds >= 0
        self.rows.append(len(batch.facts))

    def trouble(self, reason: str | None) -> None:
        """Remember it."""
        self.reasons.append(reason)


def decoding(fetcher: Wishes | None = None, resume: int | None = None) -> Decoding:
    """Return a decode stage with every decoder, in which nothing happened yet."""
    return Decoding(ALL, PoolMap(), Feeds(resume), Pending(), fetcher, Ledger(), asyncio.Event())


def as_told(whole: TxNotice, arrival: int = 1, feed: str = "logs") -> TxNotice:
    """Return a transaction as a log notification tells it: lines alone, no place and no time."""
    assert whole.logs is not None
    return TxNotice(whole.signature, whole.slot, whole.failed, logs=whole.logs, feed=feed, arrival=arrival)


def logged_buys(count: int) -> list[TxNotice]:
    """Return buys on a Pump.fun curve as log notifications tell them; their signatures are "0", "1" and so on."""
    event = RAW["pumpfun"].event("TradeEvent", is_buy=True, token_amount=1_000, sol_amount=100, timestamp=TIME_S)
    call = Call(RAW["pumpfun"].address, b"", (), (Event(event, "log"),))
    told = notice(call, carriers="log", block_time=None)
    return [
        msgspec.structs.replace(told, signature=str(number), arrival=number + 1, feed="logs") for number in range(count)
    ]


def fetched(whole: TxNotice) -> TxNotice:
    """Return a whole copy as the fetcher puts it out."""
    return msgspec.structs.replace(whole, feed="fetch")


def identity(fact: Fact) -> Identity:
    """Return what tells a fact from every other."""
    return fact.signature, fact.program, fact.event, fact.nth, fact.kind


def facts_of(items: Iterable[object]) -> list[Fact]:
    """Return the facts among what was put out."""
    return [item for item in items if isinstance(item, Fact)]


def filled(items: Sequence[object], name: str, *, closed: bool = True) -> Channel[object]:
    """Return a channel in which these wait."""
    channel: Channel[object] = Channel(max(len(items), 1), name)
    for item in items:
        channel.offer(item)
    if closed:
        channel.close()
    return channel


async def emptied(channel: Channel[object]) -> list[object]:
    """Return everything up to the channel's end."""
    items: list[object] = []
    try:
        while True:
            items.append(await channel.get())
    except Closed:
        return items
