"""Progress is contiguous from a subscription on, and whatever lies before a subscription is a hole."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.pipeline.feeds import Feeds
from monitor.sources.notices import BlockSeen
from monitor.store.batch import Hole, Progress


def test_first_subscription_ever_has_no_hole() -> None:
    """No progress yet is not slot 0: nothing was promised, so nothing is missing."""
    feeds = Feeds({})
    assert feeds.up("logs", 500) == []
    assert feeds.told("logs", 500, None) is None, "the slot of the subscription may be half told"
    assert feeds.told("logs", 503, None) == Progress(feed="logs", slot=503)


def test_a_reconnect_leaves_a_hole_up_to_and_with_its_slot() -> None:
    """What lies between the last progress and the new subscription is missing, that slot included."""
    feeds = Feeds({"logs": 100})
    assert feeds.up("logs", 140) == [Hole(first_slot=101, last_slot=140, reason="feed_away", feed="logs")]
    assert feeds.told("logs", 150, None) == Progress(feed="logs", slot=150)
    feeds.down("logs")
    assert feeds.told("logs", 160, None) is None, "a feed that is down proves nothing"
    assert feeds.up("logs", 170) == [Hole(first_slot=151, last_slot=170, reason="feed_away", feed="logs")]


def test_progress_stays_below_what_waits() -> None:
    """A transaction that waits to be fetched holds progress back."""
    feeds = Feeds({})
    feeds.up("logs", 10)
    assert feeds.told("logs", 20, 15) == Progress(feed="logs", slot=14)
    assert feeds.told("logs", 30, 15) is None
    assert feeds.told("logs", 30, None) == Progress(feed="logs", slot=30)


@given(st.lists(st.tuples(st.sampled_from(["up", "down", "told"]), st.integers(0, 60)), max_size=40))
def test_every_slot_is_claimed_once_or_missing(steps: list[tuple[str, int]]) -> None:
    """From the first subscription on, progress and holes together cover each slot up to the claim exactly once."""
    feeds = Feeds({})
    covered: list[int] = []
    claim: int | None = None
    for what, slot in steps:
        if what == "up":
            holes = feeds.up("f", slot)
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
    feeds = Feeds({} if resume is None else {"b": resume})
    feeds.up("b", slot)
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
    assert block(feeds, 10, 8) == [], "where it was subscribed"
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


def test_an_unreadable_block_is_a_hole_by_itself() -> None:
    """Also the very first one, which has no hole before it."""
    feeds = blocks_feed(10)
    assert block(feeds, 10, 8, unreadable=1) == [missing(10, 10, "block_unreadable")]
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
    feeds = Feeds({} if resume is None else {"b": resume})
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
