"""What a gap in the journal leaves out is told as time in which feeds were away."""

from __future__ import annotations

from monitor.pipeline.retell import Retelling
from monitor.pipeline.upfeeds import UpFeeds
from monitor.sources.notices import BlockSeen, EndOfInput, FeedDown, FeedUp, Journaled, Restarted, SlotSeen


def snapshot(*feeds: str) -> bytes:
    """Return the state in which these are up."""
    up = UpFeeds()
    for feed in feeds:
        up.note(FeedUp(feed, 1))
    return up.snapshot()


def slot_seen(slot: int, feed: str) -> SlotSeen:
    """Return a word of a feed about itself."""
    return SlotSeen(slot, slot - 1, slot - 32, feed)


def test_each_feed_comes_back_by_itself_and_the_number_waits_for_all() -> None:
    """A crash before that finds everything from below the gap on again."""
    retelling = Retelling()
    retelling.note(FeedUp("a", 1))
    retelling.note(FeedUp("b", 1))
    assert retelling.gap(10, 19, None) == [Journaled(9, FeedDown(f, "journal_gap")) for f in ("a", "b")]
    assert retelling.notice(20, slot_seen(50, "a")) == [
        Journaled(9, FeedUp("a", 50)),
        Journaled(9, slot_seen(50, "a")),
    ]
    mending = [retelling.is_mending]
    block = BlockSeen(51, 50, "h", "g", None, "b")
    assert retelling.notice(21, block) == [Journaled(9, FeedUp("b", 51)), Journaled(21, block)]
    assert [*mending, retelling.is_mending] == [True, False]
    assert retelling.notice(22, slot_seen(52, "a")) == [Journaled(22, slot_seen(52, "a"))]


def test_a_feed_that_came_up_inside_of_the_gap_is_told_up_behind_it() -> None:
    """The head of the next segment knows it: its own words would count for nothing otherwise."""
    retelling = Retelling()
    assert retelling.gap(10, 19, snapshot("new")) == []
    assert [item.notice for item in retelling.notice(20, slot_seen(50, "new"))] == [
        FeedUp("new", 50),
        slot_seen(50, "new"),
    ]


def test_what_says_by_itself_that_a_feed_is_up_or_gone_needs_no_mending() -> None:
    """The feed's own word is told alone."""
    for said in (FeedUp("a", 60), FeedDown("a", "closed"), EndOfInput("a"), Restarted()):
        retelling = Retelling()
        retelling.note(FeedUp("a", 1))
        retelling.gap(10, 19, snapshot("a"))
        assert retelling.notice(20, said) == [Journaled(20, said)]
        assert not retelling.is_mending


def test_a_second_gap_before_the_first_is_mended_keeps_the_number_below_the_first() -> None:
    """What is told again begins before both."""
    retelling = Retelling()
    retelling.note(FeedUp("a", 1))
    retelling.gap(10, 19, snapshot("a"))
    assert retelling.gap(25, 29, snapshot("a")) == []
    assert [item.seq for item in retelling.notice(30, slot_seen(9, "a"))] == [9, 30]


def test_a_gap_that_was_done_with_before_only_changes_which_feeds_are_up() -> None:
    """An earlier life has told it."""
    retelling = Retelling(done_seq=30, replayed_through=40, snapshot=snapshot("a"))
    assert retelling.gap(10, 19, snapshot("b")) == []
    assert retelling.notice(31, slot_seen(5, "b")) == [
        Journaled(30, FeedUp("b", 1), True),
        Journaled(31, slot_seen(5, "b"), True),
    ]
