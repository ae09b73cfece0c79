"""How far each feed is, and between which slots it was away (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.store.batch import Hole, Progress


@dataclass(slots=True)
class _Feed:
    claimed: int | None
    up: bool = False


class Feeds:
    """
    Turns what sources say of themselves into progress and holes.

    `claimed` is the highest slot that a feed's progress may stand at; what lies between it and the slot of the next
    subscription was missed, and is a hole.
    """

    def __init__(self, resume: dict[str, int]) -> None:
        """Begin with the slot up to which each feed told everything (absent: from its first subscription)."""
        self._feeds = {name: _Feed(slot) for name, slot in resume.items()}

    def up(self, feed: str, slot: int) -> Hole | None:
        """Take note of a subscription made at `slot`; return what was missed before it."""
        state = self._feeds.setdefault(feed, _Feed(None))
        state.up = True
        missed = None
        if state.claimed is not None and state.claimed < slot:
            missed = Hole(first_slot=state.claimed + 1, last_slot=slot, reason="feed_away", feed=feed)
        # The slot of the subscription itself may be half told: it belongs to the hole, and to nothing without one.
        state.claimed = slot if state.claimed is None else max(state.claimed, slot)
        return missed

    def down(self, feed: str) -> None:
        """Take note that the feed's connection is gone."""
        self._feeds.setdefault(feed, _Feed(None)).up = False

    def told(self, feed: str, slot: int, oldest_pending: int | None, block_time: int | None = None) -> Progress | None:
        """Return how far `feed` is now that it told everything through `slot`; None if no further than before."""
        state = self._feeds.get(feed)
        if state is None or not state.up or state.claimed is None:
            return None
        if oldest_pending is not None:
            slot = min(slot, oldest_pending - 1)
        if slot <= state.claimed:
            return None
        state.claimed = slot
        return Progress(feed=feed, slot=slot, block_time=block_time)
