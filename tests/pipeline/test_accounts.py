"""The ledgers add up at every moment, key by key, and a leak shows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from monitor.channel import Channel
from monitor.journal import Journal, JournalLimits
from monitor.metrics.counts import difference
from monitor.pipeline.accounts import EventAccount, FeedAccount, NoticeAccount
from monitor.pipeline.inlet import Inlet, SideDoor
from monitor.pipeline.upfeeds import UpFeeds
from monitor.sources.live import NoTap
from monitor.sources.notices import FeedUp, Journaled
from monitor.sources.recovery import Recovery
from monitor.sources.tally import FeedTally
from monitor.sources.translate import Translator
from monitor.stages import build
from tests.decoders.built import ALL
from tests.pipeline.stages import Books, logged_buys
from tests.sources.node import following

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.sources.notices import Notice
    from monitor.stages import Pipeline


def stages(books: Books) -> Pipeline:
    """Return stages with short queues, so that something is under way everywhere."""
    made = build(ALL, books, fetcher=None, announcer=None, everything=True, batch_max_rows=7, live=False)
    made.durable = Channel(5, "durable")
    return made


def accounts(made: Pipeline, inlet: Inlet, tally: FeedTally) -> tuple[NoticeAccount, EventAccount]:
    """Return both sides of the ledger."""
    ledger = made.decoding.ledger
    notices = NoticeAccount(inlet, made.wire, ledger, {"logs": tally})
    return notices, EventAccount(ledger, made.decoding, made.durable, made.writing)


async def test_they_add_up_at_every_moment() -> None:
    """Between any two steps of the loop, with a database that is slow and takes single batches."""
    books = Books()
    made = stages(books)
    inlet = Inlet(made.wire, None, UpFeeds())
    await inlet.start(0)
    notices, events = accounts(made, inlet, FeedTally(received=3, repeats=1, irrelevant=1, malformed=1))
    side = SideDoor(inlet, made.wire)

    async def feed() -> None:
        await inlet.put(FeedUp("logs", 1))
        for number, notice in enumerate(logged_buys(200)):
            await (inlet if number % 3 else side).put(notice)
        made.wire.close()

    running = asyncio.gather(feed(), made.run())
    under_way = 0
    while not running.done():
        assert (difference(notices), difference(events)) == (0, 0)
        under_way += sum(events.in_flight.values()) + sum(notices.in_flight.values())
        await asyncio.sleep(0)
    await running
    assert under_way > 100, "or nothing was seen under way"
    assert sum(notices.came.values()) == 203
    assert sum(events.went.values()) == 200
    assert (sum(notices.in_flight.values()), sum(events.in_flight.values())) == (0, 0)


async def test_a_leak_shows_on_either_side() -> None:
    """What is taken off the wire or out of the channel behind everybody's back is missing by that much."""
    made = stages(Books())
    inlet = Inlet(made.wire, None, UpFeeds())
    await inlet.start(0)
    notices, events = accounts(made, inlet, FeedTally())
    for notice in logged_buys(3):
        await inlet.put(notice)
    assert difference(notices) == 0
    stolen: list[Notice | Journaled] = made.wire.get_nowait_all(1)
    assert difference(notices) == 1
    for fact in made.decoding.take(stolen[0]):
        await made.durable.put(fact)
    assert (difference(notices), difference(events)) == (0, 0)
    made.durable.get_nowait_all(1)
    assert difference(events) == 1


async def told(journal: Journal, inlet: Inlet, wire: Channel[Notice | Journaled]) -> list[Notice | Journaled]:
    """Return what comes out of a journal until all of it is told."""
    running = asyncio.create_task(inlet.run())
    while inlet.waiting:  # noqa: ASYNC110 - it has no event for that
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait({running})
    await journal.close()
    return wire.get_nowait_all(1_000)


async def test_what_a_standby_gave_up_is_not_in_flight_for_ever(tmp_path: Path) -> None:
    """The writer told it; what is left is told by the one that takes over, and comes in then."""
    up = UpFeeds()
    limits = JournalLimits(min_free_bytes=0, segment_bytes=200, memory_bytes=0)
    journal = Journal.open(tmp_path, limits, up.snapshot)
    made = stages(Books())
    inlet = Inlet(made.wire, journal, up)
    notices, _ = accounts(made, inlet, FeedTally())
    inlet.begin_life()
    for notice in logged_buys(50):
        await inlet.put(notice)
        await journal.flush()
    assert (difference(notices), sum(notices.in_flight.values())) == (0, 50)
    journal.release(20)
    await inlet.start(journal.gone_seq)
    assert (difference(notices), sum(notices.in_flight.values())) == (0, 0)
    left = 50 - journal.gone_seq
    taken = await told(journal, inlet, made.wire)
    assert len(taken) == left > 20
    assert sum(notices.came.values()) == 50 + left
    for item in taken:
        made.decoding.take(item)
    assert (difference(notices), sum(notices.in_flight.values())) == (0, 0)


async def test_what_the_journal_cannot_give_back_is_lost_and_not_in_flight(tmp_path: Path) -> None:
    """Its segment was damaged while it waited there."""
    up = UpFeeds()
    limits = JournalLimits(min_free_bytes=0, segment_bytes=200, memory_bytes=0)
    journal = Journal.open(tmp_path, limits, up.snapshot)
    made = stages(Books())
    made.wire = Channel(40, "wire")
    inlet = Inlet(made.wire, journal, up)
    notices, _ = accounts(made, inlet, FeedTally())
    await inlet.start(0)
    inlet._behind.set()  # as if the wire had no room
    for notice in logged_buys(30):
        await inlet.put(notice)
        await journal.flush()
    middle = sorted(tmp_path.glob("*.segment"))[10]
    middle.write_bytes(middle.read_bytes()[:-1])
    taken = await told(journal, inlet, made.wire)
    for item in taken:
        made.decoding.take(item)
    assert (difference(notices), sum(notices.in_flight.values())) == (0, 0)
    lost = sum(count for key, count in notices.went.items() if key[-1] == "lost")
    assert 0 < lost < 30


class Leaky:
    """An outlet that loses every tenth notice on its way."""

    def __init__(self, out: Inlet) -> None:
        self._out = out
        self._count = 0

    async def put(self, item: Notice) -> None:
        """Take it, or lose it."""
        self._count += 1
        if self._count % 10:
            await self._out.put(item)


@pytest.mark.parametrize("leaks", [False, True])
@pytest.mark.parametrize("has_journal", [False, True])
async def test_a_feed_accounts_for_all_that_it_received(tmp_path: Path, *, leaks: bool, has_journal: bool) -> None:
    """At each moment, with an entrance that has no room at times; what is lost before the entrance shows."""
    up = UpFeeds()
    limits = JournalLimits(max_bytes=8_000, min_free_bytes=0)
    journal = Journal.open(tmp_path, limits, up.snapshot) if has_journal else None
    wire: Channel[Notice | Journaled] = Channel(3, "wire")
    inlet = Inlet(wire, journal, up)
    await inlet.start(0)
    background = [] if journal is None else [asyncio.create_task(journal.run()), asyncio.create_task(inlet.run())]
    tally = FeedTally()
    account = FeedAccount(inlet, {"logs": tally})
    recovery = Recovery("logs", following("ws://unused"), tally, Translator("logs", frozenset(), tally), NoTap())
    out = Leaky(inlet) if leaks else inlet
    put = 4 * 100

    async def feed() -> None:
        for begin in range(0, put, 4):
            notices = list(logged_buys(put))[begin : begin + 4]
            tally.received += 5
            tally.irrelevant += 1
            await recovery.put([FeedUp("logs", 1), *notices], out)

    feeding = asyncio.create_task(feed())
    under_way = 0
    while not (feeding.done() and not inlet.waiting and not len(wire)):
        assert leaks or difference(account) == 0
        under_way += sum(account.in_flight.values())
        for item in wire.get_nowait_all(2):
            if isinstance(item, Journaled):
                inlet.released(item.seq)
        await asyncio.sleep(0)
    await feeding
    for task in background:
        task.cancel()
    if journal is not None:
        await asyncio.wait(background)
        await journal.close()
    assert under_way > 100, "or nothing was seen under way"
    assert (difference(account) > 0) == leaks
