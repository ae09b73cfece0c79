"""A hole is filled when nothing of it waits any more, and never while something may still be missed."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from decoders.core.registry import load
from decoders.core.types import Fact, TxNotice
from monitor.data import data_dir, idls_in
from monitor.pipeline.decode import Decoding
from monitor.pipeline.feeds import Feeds
from monitor.pipeline.ledger import Ledger
from monitor.pipeline.pending import Pending
from monitor.pipeline.pools import PoolMap
from monitor.sources.notices import BlockSeen, FeedUp, FetchGaveUp, HoleFilled, HolePart, Journaled, SlotSeen
from monitor.store.batch import Done, Filled, FilledPart, Hole, Late, Progress
from tests.pipeline import market

FILLED = Filled(by="history", hole_id=1)


@pytest.fixture
def decoding() -> Decoding:
    """A decode stage in which nothing happened yet."""
    registry = load(["pumpfun"], idls_in(data_dir("idl")))
    return Decoding(registry, PoolMap(), Feeds(None), Pending(), None, Ledger(), asyncio.Event())


def wait(decoding: Decoding, signature: str, slot: int) -> None:
    """Let a transaction wait for its pool."""
    decoding.pending.wait(TxNotice(signature, slot, failed=False, feed="logs"), ["pool"], whole=False, told=[])


def hole(signature: str, slot: int, reason: str, error: str | None = None) -> Hole:
    """Return the hole of a transaction."""
    return Hole(first_slot=slot, last_slot=slot, reason=reason, signature=signature, feed="logs", last_error=error)


def given_up(signature: str, slot: int) -> Hole:
    """Return the hole of one that could not be fetched: what the node said is no reason, but an error."""
    return hole(signature, slot, "not_fetched", "why")


def test_a_hole_of_which_nothing_waits_is_filled_at_once(decoding: Decoding) -> None:
    """What waits in other slots does not matter."""
    wait(decoding, "before", 9)
    wait(decoding, "after", 21)
    assert decoding.take(HoleFilled(1, 10, 20)) == [FILLED]


def test_what_gives_up_has_a_hole_of_its_own_before(decoding: Decoding) -> None:
    """The range is filled then, and not earlier."""
    wait(decoding, "a", 10)
    wait(decoding, "b", 20)
    assert decoding.take(HoleFilled(1, 10, 20)) == []
    assert decoding.take(FetchGaveUp("a", 10, "why", "fetch")) == [given_up("a", 10)]
    assert decoding.take(FetchGaveUp("b", 20, "why", "fetch")) == [given_up("b", 20), FILLED]


def test_what_is_told_meanwhile_fills_it(decoding: Decoding) -> None:
    """A whole copy of the last one that waits ends the wait, also a failed one."""
    wait(decoding, "a", 10)
    assert decoding.take(HoleFilled(1, 10, 20)) == []
    assert decoding.take(TxNotice("a", 10, failed=True, invokes=())) == [FILLED]


def test_a_transaction_that_gives_up_again_keeps_its_hole(decoding: Decoding) -> None:
    """A second hole of it would not be recorded beside the open one, so that one stays."""
    wait(decoding, "a", 10)
    assert decoding.take(HoleFilled(1, 10, 10, "a")) == []
    assert decoding.take(FetchGaveUp("a", 10, "why", "fetch")) == [given_up("a", 10)]
    assert decoding.take(FetchGaveUp("b", 10, "why", "fetch")) == []


def test_at_the_end_all_that_waits_is_a_hole(decoding: Decoding) -> None:
    """Ranges are filled, since what is missing of them has holes; a transaction's own hole stays."""
    wait(decoding, "a", 10)
    decoding.take(HoleFilled(1, 10, 20))
    decoding.take(HoleFilled(2, 10, 10, "a"))
    assert decoding.drain() == [hole("a", 10, "stopped_before_fetched"), FILLED]


def test_a_subscription_is_durable_from_its_first_moment(decoding: Decoding) -> None:
    """A feed that ends before it told anything is resumed from where it was subscribed."""
    assert decoding.take(FeedUp("logs", 7)) == [Progress(feed="logs", slot=6)], "7 itself may be half told"
    missed = Hole(first_slot=7, last_slot=30, reason="feed_away", feed="logs")
    assert decoding.take(FeedUp("logs", 30)) == [missed, Progress(feed="logs", slot=30)]


def test_a_block_that_did_not_come_is_a_hole_before_progress_passes_it(decoding: Decoding) -> None:
    """What the node could not give, or what was unreadable, is known to be missing from the next block on."""
    decoding.take(FeedUp("blocks", 10))
    assert decoding.take(BlockSeen(10, 9, "h10", "h9", None, "blocks")) == [Progress(feed="blocks", slot=10)]
    missed = Hole(first_slot=11, last_slot=12, reason="parent_not_told", feed="blocks")
    unread = Hole(first_slot=13, last_slot=13, reason="block_unreadable", feed="blocks")
    block = BlockSeen(13, 12, "h13", "h12", 1_790_000_000, "blocks", unreadable=3)
    assert decoding.take(block) == [missed, unread, Progress(feed="blocks", slot=13, block_time=1_790_000_000)]


def test_progress_is_what_a_feed_claims(decoding: Decoding) -> None:
    """The root, or less where the feed says so."""
    decoding.take(FeedUp("logs", 10))
    assert decoding.take(SlotSeen(60, 59, 30, "logs", complete_through=9)) == []
    assert decoding.take(SlotSeen(61, 60, 31, "logs", complete_through=29)) == [Progress(feed="logs", slot=29)]
    assert decoding.take(SlotSeen(62, 61, 32, "logs")) == [Progress(feed="logs", slot=32)]


def test_a_part_is_filled_once_nothing_of_it_waits(decoding: Decoding) -> None:
    """A daemon that is cut off goes on behind a part: what still waits for a pool would be lost."""
    wait(decoding, "a", 10)
    assert decoding.take(HolePart(1, 12)) == []
    assert decoding.take(HolePart(2, 9)) == [FilledPart(hole_id=2, through=9)]
    assert decoding.take(FetchGaveUp("a", 10, "why", "fetch")) == [
        given_up("a", 10),
        FilledPart(hole_id=1, through=12),
    ]


def test_the_journal_keeps_what_waits_on_after_a_whole_copy(decoding: Decoding) -> None:
    """A whole copy that still lacks something takes the number of the notification, or a crash would lose it."""
    decoding.journal_id = "j"
    decoding.pending.wait(TxNotice("a", 10, failed=False, feed="logs"), ["pool"], whole=False, told=[], seq=3)
    decoding.take(Journaled(5, SlotSeen(12, 11, 5, "logs")))
    assert decoding.done() == Done(journal_id="j", seq=2)
    decoding.pending.wait(TxNotice("a", 10, failed=False, feed="fetch"), (), whole=False, told=[], time=True)
    assert decoding.pending.oldest_seq() == 3
    decoding.pending.wait(TxNotice("a", 10, failed=False, program="p"), (), whole=True, told=[], seq=3)
    decoding.pending.done(decoding.pending.get("a")[0])
    assert decoding.pending.oldest_seq() == 3, "of two that wait under one number, one still does"
    decoding.pending.close("a")
    assert decoding.done() == Done(journal_id="j", seq=5)


def test_what_waited_may_be_late_as_well(decoding: Decoding) -> None:
    """It came after its slot was compared, and is told once its time is known: it is to be compared by itself."""
    decoding.final_through = 1_000_000_000_000
    for copy in market.recorded(11).whole:
        told = decoding.take(msgspec.structs.replace(copy, feed="logs"))
        facts = [item for item in told if isinstance(item, Fact)]
        assert bool(facts) == any(item == Late(slot=copy.slot) for item in told)
        assert not any(isinstance(item, Late) for item in decoding.take(msgspec.structs.replace(copy, final=True)))
