"""Progress is contiguous from a subscription on, and whatever lies before a subscription is a hole."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.pipeline.feeds import Feeds
from monitor.store.batch import Hole, Progress


def test_first_subscription_ever_has_no_hole() -> None:
    """No progress yet is not slot 0: nothing was promised, so nothing is missing."""
    feeds = Feeds({})
    assert feeds.up("logs", 500) is None
    assert feeds.told("logs", 500, None) is None, "the slot of the subscription may be half told"
    assert feeds.told("logs", 503, None) == Progress(feed="logs", slot=503)


def test_a_reconnect_leaves_a_hole_up_to_and_with_its_slot() -> None:
    """What lies between the last progress and the new subscription is missing, that slot included."""
    feeds = Feeds({"logs": 100})
    assert feeds.up("logs", 140) == Hole(first_slot=101, last_slot=140, reason="feed_away", feed="logs")
    assert feeds.told("logs", 150, None) == Progress(feed="logs", slot=150)
    feeds.down("logs")
    assert feeds.told("logs", 160, None) is None, "a feed that is down proves nothing"
    assert feeds.up("logs", 170) == Hole(first_slot=151, last_slot=170, reason="feed_away", feed="logs")


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
            hole = feeds.up("f", slot)
            if claim is None:
                claim = slot
            elif hole is not None:
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
