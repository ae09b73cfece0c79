"""Transactions that tell all but their time: it is asked for once a slot, and all copies agree on it."""

from __future__ import annotations

from itertools import groupby

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.core.types import Trade, TxNotice
from monitor.pipeline.times import SlotTimes
from monitor.sources.notices import HISTORY, BlockSeen, FeedUp, FetchGaveUp, Journaled, SlotSeen, SlotTime
from monitor.store.batch import Done, Hole, Progress
from tests.decoders.built import ALL, TIME_S
from tests.pipeline import market
from tests.pipeline.stages import Wishes, as_told, decoding, facts_of, identity

FEED, SLOT = "transactions", 500


def heard(whole: TxNotice, arrival: int = 1) -> TxNotice:
    """Return a whole copy as a feed of transactions tells it where the provider tells neither place nor time."""
    return msgspec.structs.replace(whole, feed=FEED, index=None, arrival=arrival, block_time=None)


def reasons_of(notice: TxNotice) -> set[str]:
    """Return for what a notice needs something."""
    return {need.reason for need in ALL.decode(notice, {}).needs}


def untimed(count: int) -> list[TxNotice]:
    """Return transactions of `SLOT` that tell nothing without their time."""
    found = [heard(whole) for whole in market.recorded(12).whole]
    found = [copy for copy in found if reasons_of(copy) and not ALL.decode(copy, {}).facts]
    assert len(found) >= count
    return [msgspec.structs.replace(copy, slot=SLOT, arrival=at) for at, copy in enumerate(found[:count], 1)]


def seen(root: int) -> SlotSeen:
    """Return a slot notification."""
    return SlotSeen(root + 32, root + 31, root, FEED)


def block(block_time: int | None) -> BlockSeen:
    """Return the end of the block of `SLOT`, as another feed tells it."""
    return BlockSeen(SLOT, SLOT - 1, "hash", "before", block_time, "blocks")


@pytest.mark.parametrize("seed", range(3))
async def test_times_tell_the_rest(seed: int) -> None:
    """
    Whole copies without a time, then the time of their slot, tell what copies out of a block tell.

    Nothing but times is asked for; what came late comes in the order of its arrival.
    """
    recorded = market.recorded(seed + 12)
    wishes = Wishes()
    stage, blocks = decoding(wishes), decoding()
    late_trades = 0
    for slot, found in groupby(recorded.whole, key=lambda whole: whole.slot):
        copies = list(found)
        expected = {identity(fact): fact for whole in copies for fact in facts_of(blocks.take(whole))}
        at_once = [fact for at, whole in enumerate(copies, 1) for fact in facts_of(stage.take(heard(whole, at)))]
        assert {(need.reason, need.slot) for need in wishes.wanted} <= {("time", slot)}
        assert copies[0].block_time is not None
        late = facts_of(stage.take(SlotTime(slot, copies[0].block_time, "fetch")))
        assert bool(late) == bool(wishes.wanted)
        assert [fact.arrival for fact in late] == sorted(fact.arrival or 0 for fact in late)
        told = {identity(fact): fact for fact in (*at_once, *late)}
        assert len(told) == len(at_once) + len(late)
        assert told == {
            name: msgspec.structs.replace(fact, index=None, arrival=told[name].arrival)
            for name, fact in expected.items()
        }
        late_trades += sum(isinstance(fact, Trade) for fact in late)
        wishes.wanted.clear()
    assert late_trades > 20
    assert len(stage.pending) == 0


async def test_a_known_time_is_not_asked_for() -> None:
    """Not after its answer, nor where a block or a whole copy of the slot told it before."""
    first, second = untimed(2)
    for known in (SlotTime(SLOT, TIME_S, "fetch"), block(TIME_S), msgspec.structs.replace(first, block_time=TIME_S)):
        wishes = Wishes()
        stage = decoding(wishes)
        stage.take(known)
        told = facts_of(stage.take(second))
        assert told
        assert {fact.block_time for fact in told} == {TIME_S}
        assert wishes.wanted == []
        assert wishes.timed_slots == [SLOT], "the fetcher knows as well"


async def test_another_feed_tells_the_time() -> None:
    """What waits is told as soon as a block, or a whole copy of another transaction, tells it; that one is told too."""
    first, second = untimed(2)
    for known in (block(TIME_S), msgspec.structs.replace(first, feed="blocks", index=4, block_time=TIME_S)):
        stage = decoding(Wishes())
        assert stage.take(second) == []
        told = facts_of(stage.take(known))
        assert {fact.block_time for fact in told} == {TIME_S}
        assert second.signature in {fact.signature for fact in told}
        assert (first.signature in {fact.signature for fact in told}) == isinstance(known, TxNotice)
        assert len(stage.pending) == 0


async def test_a_block_lets_progress_pass() -> None:
    """It tells the time of what waits in it before it tells how far the feed is."""
    stage = decoding(Wishes())
    stage.take(FeedUp(FEED, SLOT - 1))
    stage.take(untimed(1)[0])
    assert stage.take(seen(SLOT + 5)) == [Progress(feed=FEED, slot=SLOT - 1)]
    told = stage.take(block(TIME_S))
    assert facts_of(told)
    assert stage.take(seen(SLOT + 5)) == [Progress(feed=FEED, slot=SLOT + 5)]


async def test_a_copy_with_its_time_is_told_once() -> None:
    """It stands in for the one that waited, which is not told besides."""
    (copy,) = untimed(1)
    wishes = Wishes()
    stage = decoding(wishes)
    stage.take(copy)
    told = facts_of(stage.take(msgspec.structs.replace(copy, feed=HISTORY, index=4, block_time=TIME_S)))
    assert len(told) == len({identity(fact) for fact in told}) > 0
    assert {fact.index for fact in told} == {4}
    assert wishes.met == [copy.signature]
    assert len(stage.pending) == 0


async def test_log_lines_take_the_whole_transaction() -> None:
    """Where accounts are lacking besides, the time of the slot is not asked for: it changes nothing."""
    whole = next(one for one in market.recorded(12).whole if "time" in reasons_of(heard(one)))
    wishes = Wishes()
    stage = decoding(wishes)
    assert facts_of(stage.take(as_told(whole))) == []
    assert {need.reason for need in wishes.wanted} == {"accounts"}
    assert facts_of(stage.take(SlotTime(whole.slot, TIME_S, "fetch"))) == []
    assert whole.signature in stage.pending


async def test_a_fetched_copy_without_its_time_waits_for_that() -> None:
    """A node may tell a transaction before it knows its time."""
    whole = next(one for one in market.recorded(12).whole if "time" in reasons_of(heard(one)))
    wishes = Wishes()
    stage = decoding(wishes)
    stage.take(as_told(whole, 7))
    wishes.wanted.clear()
    assert facts_of(stage.take(msgspec.structs.replace(whole, feed="fetch", block_time=None))) == []
    assert {need.reason for need in wishes.wanted} == {"time"}
    told = facts_of(stage.take(SlotTime(whole.slot, TIME_S, "fetch")))
    assert {(fact.arrival, fact.block_time) for fact in told} == {(7, TIME_S)}


async def test_what_waits_for_its_time_holds_progress_and_journal_back() -> None:
    """As all that waits does; given up, it is a hole."""
    copies = untimed(2)
    stage = decoding(Wishes())
    stage.journal_id = "j"
    stage.take(Journaled(1, FeedUp(FEED, SLOT - 1)))
    for seq, copy in enumerate(copies, 2):
        stage.take(Journaled(seq, copy))
    assert stage.take(Journaled(4, seen(SLOT + 5))) == [Progress(feed=FEED, slot=SLOT - 1)]
    assert stage.done() == Done(journal_id="j", seq=1)
    gave_up = FetchGaveUp(copies[0].signature, SLOT, "no time", "fetch")
    hole = Hole(
        first_slot=SLOT,
        last_slot=SLOT,
        reason="not_fetched",
        signature=copies[0].signature,
        feed=FEED,
        last_error="no time",
    )
    assert stage.take(gave_up) == [hole]
    told = facts_of(stage.take(SlotTime(SLOT, TIME_S, "fetch")))
    assert {fact.signature for fact in told} == {copies[1].signature}
    assert stage.take(Journaled(5, seen(SLOT + 6))) == [Progress(feed=FEED, slot=SLOT + 6)]
    assert stage.done() == Done(journal_id="j", seq=5)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3))))
def test_times_are_bounded(told: list[tuple[int, int]]) -> None:
    """What was told of a slot last holds; of the slots, those that came last."""
    times = SlotTimes(most=5)
    known: dict[int, int] = {}
    for slot, block_time in told:
        assert times.learn(slot, block_time) == (known.get(slot) != block_time)
        known[slot] = block_time
        while len(known) > 5:
            del known[next(iter(known))]
        assert len(times) == len(known)
    for slot in range(13):
        assert times.dated(TxNotice("s", slot, failed=False)).block_time == known.get(slot)
        assert times.dated(TxNotice("s", slot, failed=False, block_time=9)).block_time == 9
