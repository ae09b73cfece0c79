"""Progress is contiguous from a subscription on, and whatever lies before a subscription is a hole."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.pipeline.feeds import Feeds
from monitor.sources.notices import BlockSeen
from monitor.store.batch import Hole, Progress


def test_first_subscription_ever_has_no_hole() -> None:
    """No progress yet is not slot 0: nothing was promised, so nothing is missing."""
    feeds = Feeds(None)
    assert feeds.up("logs", 500) == []
    assert feeds.progress("logs", None) == Progress(feed="logs", slot=499), "a daemon that ends now resumes from here"
    assert feeds.told("logs", 503, None) == Progress(feed="logs", slot=503)


def test_a_reconnect_leaves_a_hole_up_to_and_with_its_slot() -> None:
    """What lies between the last progress and the new subscription is missing, that slot included."""
    feeds = Feeds(100)
    assert feeds.up("logs", 140) == [Hole(first_slot=101, last_slot=140, reason="feed_away", feed="logs")]
    assert feeds.told("logs", 150, None) == Progress(feed="logs", slot=150)
    feeds.down("logs")
    assert feeds.told("logs", 160, None) is None, "a feed that is down proves nothing"
    assert feeds.up("logs", 170) == [Hole(first_slot=151, last_slot=170, reason="feed_away", feed="logs")]


def test_progress_stays_below_what_waits() -> None:
    """A transaction that waits to be fetched holds progress back."""
    feeds = Feeds(None)
    feeds.up("logs", 10)
    assert feeds.told("logs", 20, 15) == Progress(feed="logs", slot=14)
    assert feeds.told("logs", 30, 15) is None
    assert feeds.told("logs", 30, None) == Progress(feed="logs", slot=30)


@given(st.lists(st.tuples(st.sampled_from(["up", "down", "told"]), st.integers(0, 60)), max_size=40))
def test_every_slot_is_claimed_once_or_missing(steps: list[tuple[str, int]]) -> None:
    """From the first subscription on, progress and holes together cover each slot up to the claim exactly once."""
    feeds = Feeds(None)
    covered: list[int] = []
    claim: int | None = None
    for what, slot in steps:
        if what == "up":
            holes = feeds.up("f", slot)
            feeds.progress("f", None)
            claim = slot if claim is None else claim
            for hole in holes:
                covered += range(hole.first_slot, hole.last_slot + 1)
                claim = hole.last_slot
        elif what == "down":
            feeds.down("f")
        else:
            progress = feeds.told("f", slot, None)
            if progress is not None:
                assert claim is not None
                covered += range(claim + 1, progress.slot + 1)
                claim = progress.slot
    assert covered == sorted(set(covered))
    if covered:
        assert covered == list(range(covered[0], covered[-1] + 1))


# Blocks: each names its parent, so that one that did not come is known to be missing.


def blocks_feed(slot: int = 10, resume: int | None = None) -> Feeds:
    """Return a feed of blocks that is up since `slot`."""
    feeds = Feeds(resume)
    feeds.up("b", slot)
    feeds.progress("b", None)
    return feeds


def block(feeds: Feeds, slot: int, parent: int, *, unreadable: int = 0, pending: int | None = None) -> list[object]:
    """Return what a block makes known."""
    seen = BlockSeen(slot, parent, "hash", "parent's hash", None, "b", unreadable)
    return [*feeds.block(seen, pending)]


def missing(first_slot: int, last_slot: int, reason: str) -> Hole:
    """Return a hole in a feed of blocks."""
    return Hole(first_slot=first_slot, last_slot=last_slot, reason=reason, feed="b")


def test_a_block_whose_parent_was_told_leaves_no_hole() -> None:
    """The slots between the two were skipped."""
    feeds = blocks_feed(10)
    assert block(feeds, 10, 8) == [Progress(feed="b", slot=10)], "where it was subscribed"
    assert block(feeds, 11, 10) == [Progress(feed="b", slot=11)]
    assert block(feeds, 15, 11) == [Progress(feed="b", slot=15)]


def test_a_block_whose_parent_did_not_come_leaves_a_hole() -> None:
    """It reaches from the last block to this one, and stands before the progress that passes it."""
    feeds = blocks_feed(10)
    block(feeds, 10, 8)
    hole = missing(11, 14, "parent_not_told")
    assert block(feeds, 15, 13) == [hole, Progress(feed="b", slot=15)]
    assert block(feeds, 16, 15) == [Progress(feed="b", slot=16)]
    assert block(feeds, 13, 12) == [], "late, and in the hole"
    assert block(feeds, 17, 16) == [Progress(feed="b", slot=17)]


def test_the_first_block_lies_in_the_hole_before_it() -> None:
    """A subscription's hole reaches up to and with its first block: whatever that one's parent is, nothing is added."""
    feeds = blocks_feed(30, resume=10)
    assert block(feeds, 30, 28) == []
    assert block(feeds, 31, 30) == [Progress(feed="b", slot=31)]


def test_after_a_start_the_first_block_that_is_told_again_names_one_that_was_not() -> None:
    """The node left it out just between what was committed and what stands in the journal behind that."""
    feeds = Feeds(10)
    feeds.up("b", 5)
    assert block(feeds, 12, 11) == [missing(11, 11, "parent_not_told"), Progress(feed="b", slot=12)]
    again = Feeds(10)
    again.up("b", 5)
    assert block(again, 12, 10) == [Progress(feed="b", slot=12)], "slot 11 was skipped"


def test_an_unreadable_block_is_a_hole_by_itself() -> None:
    """Also the very first one, which has no hole before it."""
    feeds = blocks_feed(10)
    assert block(feeds, 10, 8, unreadable=1) == [missing(10, 10, "block_unreadable"), Progress(feed="b", slot=10)]
    assert block(feeds, 12, 10, unreadable=2) == [missing(12, 12, "block_unreadable"), Progress(feed="b", slot=12)]
    both = [missing(13, 14, "parent_not_told"), missing(15, 15, "block_unreadable"), Progress(feed="b", slot=15)]
    assert block(feeds, 15, 14, unreadable=1) == both


def test_a_block_that_leaves_the_branch_of_the_last_one() -> None:
    """What its own branch holds from its parent on was not told."""
    feeds = blocks_feed(10)
    block(feeds, 10, 9)
    block(feeds, 12, 10)
    assert block(feeds, 13, 11) == [missing(11, 12, "parent_not_told"), Progress(feed="b", slot=13)]


def test_a_parent_that_cannot_be_is_not_believed() -> None:
    """A hole does not reach back to the beginning of the chain."""
    feeds = blocks_feed(10_000)
    block(feeds, 10_000, 9_999)
    (hole, progress) = block(feeds, 10_001, 0)
    assert hole == missing(10_001 - 512, 10_000, "parent_not_told")
    assert progress == Progress(feed="b", slot=10_001)
    assert block(feeds, 10_002, 10_005) == [Progress(feed="b", slot=10_002)], "and here nothing lies between"


def test_a_hole_in_blocks_does_not_depend_on_what_waits() -> None:
    """A transaction that waits holds progress back, and makes no hole of what was told meanwhile."""
    feeds = blocks_feed(10)
    block(feeds, 10, 9)
    assert block(feeds, 11, 10, pending=11) == []
    assert block(feeds, 12, 11, pending=11) == []
    assert block(feeds, 13, 12) == [Progress(feed="b", slot=13)]


def test_a_node_that_is_behind_tells_again() -> None:
    """Up to what was told before nothing is claimed and nothing missing, and behind it the parents count again."""
    feeds = blocks_feed(10, resume=12)
    assert block(feeds, 10, 9) == []
    assert block(feeds, 12, 11) == [], "11 was told in an earlier life"
    assert block(feeds, 13, 12) == [Progress(feed="b", slot=13)]
    assert block(feeds, 16, 15) == [missing(14, 15, "parent_not_told"), Progress(feed="b", slot=16)]


@given(
    st.lists(st.booleans(), min_size=2, max_size=40),
    st.lists(st.sampled_from(["told", "told", "lost", "unreadable", "away", "waits"]), min_size=40, max_size=40),
    st.one_of(st.none(), st.integers(0, 20)),
)
def test_no_block_is_lost_silently(made: list[bool], fates: list[str], resume: int | None) -> None:
    """
    Each block between the first one told and the progress was told whole, or lies in a hole told before the progress.

    Slots without a block make no hole: without a loss there is none.
    """
    feeds = Feeds(resume)
    chain = [slot for slot, is_made in enumerate(made) if is_made]
    whole: set[int] = set()
    holes: set[int] = set(range(resume + 1)) if resume is not None else set()
    first = None if resume is None else 0
    waiting, through = None, -1
    is_up, is_lossless = False, resume is None
    for parent, slot in zip([-1, *chain], chain, strict=False):
        fate = fates[slot]
        waiting = slot if fate == "waits" and waiting is None else None
        if fate in ("lost", "away"):
            is_lossless = False
            is_up = is_up and fate == "lost"
            if not is_up:
                feeds.down("b")
            continue
        is_lossless = is_lossless and fate != "unreadable"
        if not is_up:
            told: list[object] = [*feeds.up("b", slot)]
            begun = feeds.progress("b", waiting)
            told += [] if begun is None else [begun]
            is_up = True
            first = slot if first is None else first
        else:
            told = []
        told += block(feeds, slot, max(parent, 0), unreadable=fate == "unreadable", pending=waiting)
        if fate != "unreadable":
            whole.add(slot)
        for item in told:
            if isinstance(item, Hole):
                holes |= set(range(item.first_slot, item.last_slot + 1))
            if isinstance(item, Progress):
                assert item.slot > through
                through = item.slot
                assert waiting is None or through < waiting
                assert first is not None
                assert {behind for behind in chain if first <= behind <= through} <= whole | holes
    if is_lossless:
        assert not holes


# Several feeds: each of them tells everything while it is up, so that they stand in for each other.


def test_what_waited_does_not_hold_progress_back_for_good() -> None:
    """A feed that is subscribed anew says all that holds by then, though a slot was held back when it was told."""
    feeds = Feeds(100)
    feeds.up("a", 100)
    assert feeds.told("a", 120, 111) == Progress(feed="a", slot=110)
    feeds.down("a")
    feeds.up("a", 120)
    assert feeds.progress("a", 111) is None
    assert feeds.told("a", 120, None) == Progress(feed="a", slot=120)


def test_a_feed_that_is_up_covers_for_one_that_is_away() -> None:
    """No hole is made of what another feed told without a break."""
    feeds = Feeds(100)
    feeds.up("a", 100)
    feeds.up("b", 110)
    feeds.told("a", 120, None)
    assert feeds.down("a") == []
    assert feeds.told("b", 130, None) == Progress(feed="b", slot=130)
    assert feeds.up("a", 140) == [], "it is ahead of the other one, which goes on"
    assert feeds.progress("a", None) is None, "not beyond what is told without a break"
    assert feeds.told("b", 150, None) == Progress(feed="b", slot=150)
    assert feeds.told("a", 155, None) == Progress(feed="a", slot=155)


def test_what_the_last_feed_leaves_open_is_a_hole_once_it_is_gone() -> None:
    """A feed that came up later begins ahead of it: what lies between nobody told."""
    feeds = Feeds(100)
    feeds.up("a", 100)
    feeds.told("a", 120, None)
    assert feeds.up("b", 150) == []
    assert feeds.down("a") == [Hole(first_slot=121, last_slot=150, reason="feed_away", feed="b")]
    assert feeds.told("b", 151, None) == Progress(feed="b", slot=151)


def test_a_restart_takes_every_feed_down_and_makes_no_hole_by_itself() -> None:
    """The next subscription tells how much was missed."""
    feeds = Feeds(100)
    feeds.up("a", 100)
    feeds.restarted()
    assert feeds.told("a", 130, None) is None
    assert feeds.up("a", 120) == [Hole(first_slot=101, last_slot=120, reason="feed_away", feed="a")]


_STEP = st.tuples(st.sampled_from("abc"), st.sampled_from(["up", "up", "down", "tell", "tell", "tell"]))


@given(st.lists(_STEP, max_size=60), st.one_of(st.none(), st.integers(0, 8)))
def test_several_feeds_equal_a_model_that_remembers_each_slot(steps: list[tuple[str, str]], resume: int | None) -> None:
    """
    Time goes on by one slot a step. A feed that is up has told each slot since its subscription once it says so.

    Each slot up to any progress was told by some feed, or lies in a hole that was told before; and no hole is made of a
    slot that a feed which is up has told.
    """
    feeds = Feeds(resume)
    up_since: dict[str, int] = {}
    told_by: dict[str, set[int]] = {}
    told, holes = set[int](), set[int]()
    first = None if resume is None else resume + 1
    for now, (name, step) in enumerate(steps, 10):
        new_holes: list[Hole] = []
        if step == "up" and name not in up_since:
            new_holes = feeds.up(name, now)
            up_since[name], told_by[name] = now, set()
            first = now if first is None else first
        elif step == "down" and name in up_since:
            del up_since[name]
            new_holes = feeds.down(name)
        for hole in new_holes:
            missed = set(range(hole.first_slot, hole.last_slot + 1))
            assert not any(missed & told_by[feed] for feed in up_since)
            holes |= missed
        if step == "tell" and name in up_since:
            told_by[name] = set(range(up_since[name] + 1, now + 1))
            told |= told_by[name]
            progress = feeds.told(name, now, None)
            if progress is not None and first is not None:
                assert set(range(first + (resume is None), progress.slot + 1)) <= told | holes
