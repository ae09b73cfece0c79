"""The inlet: order kept, nothing lost, nothing doubled, whatever the wire, the disk and the lives of the daemon do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.journal import Journal, JournalLimits
from monitor.pipeline.feeds import Feeds
from monitor.pipeline.inlet import Inlet
from monitor.pipeline.upfeeds import UpFeeds
from monitor.sources.notices import (
    FeedDown,
    FeedUp,
    Journaled,
    Restarted,
    SlotSeen,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from monitor.sources.notices import Notice

LIMITS = JournalLimits(min_free_bytes=0, segment_bytes=3_000, memory_bytes=2_000)
PATIENCE_S = 10


def tx(number: int) -> TxNotice:
    """Return a notice like no other."""
    return TxNotice(f"signature {number} " + "x" * 30, number, failed=False, feed="logs")


class Life:
    """One life of a daemon, of which we see the inlet and the wire's far end."""

    def __init__(self, folder: Path, capacity: int, limits: JournalLimits = LIMITS) -> None:
        up = UpFeeds()
        self.journal = Journal.open(folder, limits, up.snapshot)
        self.wire: Channel[Notice | Journaled] = Channel(capacity, "wire")
        self.inlet = Inlet(self.wire, self.journal, up)

    async def get(self) -> Journaled:
        """Return the next item of the wire."""
        item = await asyncio.wait_for(self.wire.get(), PATIENCE_S)
        assert isinstance(item, Journaled)
        return item

    async def take(self, count: int) -> list[Journaled]:
        """Return the next items of the wire."""
        return [await self.get() for _ in range(count)]


@contextlib.asynccontextmanager
async def life(
    folder: Path, done_seq: int = 0, capacity: int = 8, limits: JournalLimits = LIMITS
) -> AsyncGenerator[Life]:
    """Live from a start to an end in order."""
    it = Life(folder, capacity, limits)
    await it.inlet.start(done_seq)
    tasks = {asyncio.create_task(it.journal.run()), asyncio.create_task(it.inlet.run())}
    try:
        yield it
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await it.journal.close()


async def test_what_the_wire_has_room_for_is_passed_on_at_once(tmp_path: Path) -> None:
    """Numbered, and not marked as replayed."""
    async with life(tmp_path) as it:
        await asyncio.sleep(0)
        for number in range(1, 4):
            await it.inlet.put(tx(number))
        assert it.wire.get_nowait_all(9) == [Journaled(number, tx(number), is_prompt=True) for number in range(1, 4)]
        assert it.inlet.waiting == 0


async def test_a_source_never_waits_for_the_wire(tmp_path: Path) -> None:
    """What the wire has no room for waits on disk, and comes in its order once somebody reads."""
    async with life(tmp_path) as it:
        for number in range(1, 501):
            await asyncio.wait_for(it.inlet.put(tx(number)), PATIENCE_S)
        assert it.inlet.waiting > 400
        told = await it.take(500)
        assert [(item.seq, item.notice) for item in told] == [(number, tx(number)) for number in range(1, 501)]
        assert 0 < sum(item.is_prompt for item in told) < 100, "what went by disk is not prompt"
        await it.inlet.put(tx(501))
        assert (await it.get()).seq == 501
        assert it.inlet.waiting == 0


async def test_without_a_journal_a_source_waits_for_the_wire() -> None:
    """And its notices stay as they are; it is known all the same which feeds are up."""
    wire: Channel[Notice | Journaled] = Channel(1, "wire")
    up = UpFeeds()
    inlet = Inlet(wire, None, up)
    await inlet.start(0)
    await inlet.put(tx(1))
    waiting = asyncio.create_task(inlet.put(tx(2)))
    await asyncio.wait({waiting}, timeout=0.01)
    assert not waiting.done()
    assert [await wire.get(), await wire.get()] == [tx(1), tx(2)]
    await waiting
    assert inlet.waiting == 0
    for notice, is_up in ((FeedUp("logs", 1), True), (FeedDown("logs", "gone"), False)):
        await inlet.put(notice)
        assert (await wire.get(), "logs" in up) == (notice, is_up)


async def test_what_entered_is_counted_by_feed_and_subscription(tmp_path: Path) -> None:
    """Transactions alone."""
    async with life(tmp_path) as it:
        await it.inlet.put(FeedUp("logs", 1))
        await it.inlet.put(TxNotice("a", 1, failed=False, feed="logs", program="P"))
        await it.inlet.put(TxNotice("b", 1, failed=False, feed="logs", program="P"))
        await it.inlet.put(TxNotice("c", 1, failed=True, feed="blocks"))
        assert it.inlet.entered == Counter({("logs", "P"): 2, ("blocks", "*"): 1})


async def test_a_full_journal_makes_a_source_wait_until_something_is_committed(tmp_path: Path) -> None:
    """The feed is not read meanwhile."""
    limits = JournalLimits(max_bytes=20_000, min_free_bytes=0)
    rng = random.Random(1)
    async with life(tmp_path, limits=limits) as it:
        put = 0

        async def source() -> None:
            nonlocal put
            while put < 100:
                await it.inlet.put(TxNotice(rng.randbytes(800).hex(), put, failed=False))
                put += 1

        sourcing = asyncio.create_task(source())
        while not it.journal.is_full or it.journal.unwritten_bytes:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.001)
        stuck_at = put
        await asyncio.wait({sourcing}, timeout=0.05)
        assert put == stuck_at < 100
        for seq in range(1, 101):
            assert (await it.get()).seq == seq
            it.inlet.released(seq)
        await asyncio.wait_for(sourcing, PATIENCE_S)


async def test_a_start_tells_what_was_not_committed_then_that_it_is_past(tmp_path: Path) -> None:
    """First which feeds were up there, all of it marked, and everything new behind it."""
    async with life(tmp_path, capacity=100) as it:
        said: list[Notice] = [FeedUp("a", 10), FeedUp("b", 20), *map(tx, range(50)), FeedDown("a", "x"), tx(99)]
        for notice in said:
            await it.inlet.put(notice)
    async with life(tmp_path, done_seq=30) as it:
        new = asyncio.create_task(it.inlet.put(FeedUp("a", 500)))
        told = await it.take(2 + 24 + 2)
        await new
    assert told[:2] == [Journaled(30, FeedUp("a", 10), True), Journaled(30, FeedUp("b", 20), True)]
    assert [item.seq for item in told[2:]] == list(range(31, 57))
    assert [item.is_replayed for item in told] == [True] * 27 + [False]
    assert told[-2:] == [Journaled(55, Restarted(), True), Journaled(56, FeedUp("a", 500))]
    async with life(tmp_path, done_seq=53) as it:
        told = await it.take(4)
    assert [item.notice for item in told] == [FeedUp("b", 20), tx(99), Restarted(), FeedUp("a", 500)]


async def test_a_first_start_tells_nothing_of_a_past(tmp_path: Path) -> None:
    """There was none."""
    async with life(tmp_path) as it:
        await it.inlet.put(tx(1))
        assert await it.get() == Journaled(1, tx(1))


async def test_a_standby_appends_and_tells_it_all_when_it_takes_over(tmp_path: Path) -> None:
    """Nothing reaches the wire before; what came before is marked as replayed, and the feeds stay up."""
    it = Life(tmp_path, 5)
    it.inlet.begin_life()
    said: list[Notice] = [FeedUp("a", 10), *map(tx, range(20))]
    for notice in said:
        await it.inlet.put(notice)
    assert len(it.wire) == 0
    await it.inlet.start(0)
    task = asyncio.create_task(it.inlet.run())
    await it.inlet.put(tx(20))
    told = await it.take(22)
    assert [item.notice for item in told] == [FeedUp("a", 10), *map(tx, range(21))]
    assert [item.is_replayed for item in told] == [True] * 21 + [False]
    task.cancel()
    await asyncio.wait({task})
    await it.journal.close()


async def test_a_standby_that_gave_up_the_oldest_begins_with_what_it_kept(tmp_path: Path) -> None:
    """The writer has committed what it gave up: that is no gap, and the feeds that were up there are told."""
    limits = JournalLimits(min_free_bytes=0, segment_bytes=200, memory_bytes=0)
    it = Life(tmp_path, 5, limits)
    it.inlet.begin_life()
    await it.inlet.put(FeedUp("a", 10))
    for slot in range(100, 200):
        await it.inlet.put(tx(slot))
        await it.journal.flush()
    assert it.inlet.waiting == 0, "or a watchdog would take it for one that hangs"
    it.journal.release_marked(150)
    given_up = it.journal.released_seq
    await it.journal.close()
    async with life(tmp_path, done_seq=given_up, limits=limits) as again:
        told = await again.take(50)
    assert told[0] == Journaled(given_up, FeedUp("a", 10), True)
    assert isinstance(told[1].notice, TxNotice)
    assert 140 < told[1].notice.slot <= 150
    assert again.journal.gaps == []


async def test_a_database_that_went_back_finds_a_hole_and_no_silence(tmp_path: Path) -> None:
    """
    It was restored to a state from before what the journal has given up.

    Each feed that was up is up again only with its next word: what lies before that, it has not told.
    """
    limits = JournalLimits(min_free_bytes=0, segment_bytes=200, memory_bytes=0)
    async with life(tmp_path, limits=limits, capacity=300) as it:
        await it.inlet.put(FeedUp("logs", 1))
        for slot in range(2, 100):
            await it.inlet.put(SlotSeen(slot, slot - 1, slot - 1, "logs"))
            await it.journal.flush()
        it.inlet.released(60)
        await it.journal.flush()
        gone = it.journal.gone_seq
    assert gone > 30
    async with life(tmp_path, done_seq=20, limits=limits, capacity=300) as it:
        told = [item.notice for item in await it.take(5)]
    feeds = Feeds(20)
    holes = [
        hole for notice in told if isinstance(notice, FeedUp) for hole in feeds.up("logs", notice.subscribed_at_slot)
    ]
    first = next(notice.slot for notice in told if isinstance(notice, SlotSeen))
    assert [(hole.first_slot, hole.last_slot) for hole in holes] == [(21, first)]
    assert not isinstance(told[0], SlotSeen), "nothing claims anything before"


async def test_a_gap_is_told_as_time_in_which_its_feeds_were_away(tmp_path: Path) -> None:
    """What lies between the last word before it and the next one becomes a hole; a crash meanwhile tells it again."""
    for slots in (range(100, 140), range(140, 180), range(180, 220)):
        up = UpFeeds()
        journal = Journal.open(tmp_path, JournalLimits(min_free_bytes=0), up.snapshot)
        inlet = Inlet(Channel(5, "wire"), journal, up)
        inlet._has_begun = True  # one life in three files
        if slots[0] == 100:
            await inlet.put(FeedUp("a", 99))
        else:
            up.note(FeedUp("a", 99))
        for slot in slots:
            await inlet.put(SlotSeen(slot, slot - 1, slot - 32, "a"))
        await journal.close()
    middle = sorted(tmp_path.glob("*.segment"))[1]
    middle.write_bytes(middle.read_bytes()[:-1])
    async with life(tmp_path, capacity=500) as it:
        told = await it.take(1 + 40 + 1 + 1 + 40 + 1)
    assert told[40] == Journaled(41, SlotSeen(139, 138, 107, "a"), True)
    assert told[41] == Journaled(41, FeedDown("a", "journal_gap"), True)
    assert [item.notice for item in told[42:44]] == [FeedUp("a", 180), SlotSeen(180, 179, 148, "a")]
    seqs = [item.seq for item in told]
    assert seqs == sorted(seqs)
    assert seqs[43] == 82


STEPS = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))
"""How many are put, how many are taken, and how often others get their turn then."""


@settings(max_examples=40, deadline=None)
@given(
    capacity=st.integers(1, 6),
    memory_bytes=st.sampled_from([0, 500, 100_000]),
    lives=st.lists(st.tuples(st.lists(STEPS, max_size=6), st.booleans()), min_size=1, max_size=3),
)
def test_memory_and_disk_take_turns_without_loss(
    capacity: int, memory_bytes: int, lives: list[tuple[list[tuple[int, int, int]], bool]]
) -> None:
    """However fast the wire is read, and wherever lives end: every notice once, in order, beginning after the done."""
    with tempfile.TemporaryDirectory() as folder:
        limits = JournalLimits(min_free_bytes=0, segment_bytes=600, memory_bytes=memory_bytes)
        asyncio.run(_turns(Path(folder), capacity, limits, lives))


async def _turns(
    folder: Path, capacity: int, limits: JournalLimits, lives: list[tuple[list[tuple[int, int, int]], bool]]
) -> None:
    put: list[Notice] = []
    done_seq = 0
    for steps, takes_rest in lives:
        async with life(folder, done_seq, capacity, limits) as it:
            if put:
                put.append(Restarted())
            taken = done_seq
            for puts, takes, yields in steps:
                for _ in range(puts):
                    put.append(tx(len(put)))
                    await it.inlet.put(put[-1])
                for _ in range(min(takes, len(put) - taken)):
                    taken += 1
                    item = await it.get()
                    assert (item.seq, item.notice) == (taken, put[taken - 1])
                for _ in range(yields):
                    await asyncio.sleep(0.001)
            if takes_rest:
                for item in await it.take(len(put) - taken):
                    taken += 1
                    assert (item.seq, item.notice) == (taken, put[taken - 1])
                assert it.inlet.waiting == 0
                assert len(it.wire) == 0
            done_seq = taken
            it.inlet.released(done_seq)
