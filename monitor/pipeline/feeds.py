"""How far the feeds are together, how far each of them, and what none of them told (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.store.batch import SKIPPED_BY_START, Hole, Progress

if TYPE_CHECKING:
    from monitor.sources.notices import BlockSeen

# No branch of confirmed blocks is as long; whatever a node claims, no more is asked for than this.
_LONGEST_BRANCH_SLOTS = 512


@dataclass(slots=True)
class _Feed:
    """
    One feed: while it is `up` it has told all that landed behind `since`, up to and including `claim`.

    `shown` is the last progress that was put out. `last` is the newest block of this connection; everything through
    `told` was told by blocks or is in a hole.
    """

    up: bool = False
    since: int = -1
    claim: int = -1
    shown: int = -1
    told: int = -1
    last: int | None = None


class Feeds:
    """
    Turns what sources say of themselves into progress and holes.

    All that lies at or below the `frontier` was told by some feed, or is a hole. It moves on with each feed that was up
    without a break since the frontier: several feeds stand in for each other. What lies between it and the next
    subscription, while no other feed covers that, was missed. So is what a feed of blocks leaves out while it is up:
    each block names its parent, and slots were skipped only where that is the block told before.
    """

    def __init__(self, through: int | None, left_out_through: int = -1) -> None:
        """
        Begin with the slot `through` which everything was told before (None: nothing was promised yet).

        What is missing up to slot `left_out_through` is left out on purpose.
        """
        self.frontier = through
        self._shown = -1 if through is None else through
        self._left_out_through = left_out_through
        self._feeds: dict[str, _Feed] = {}

    @property
    def up_feeds(self) -> frozenset[str]:
        """Return the feeds whose subscriptions stand."""
        return frozenset(name for name, feed in self._feeds.items() if feed.up)

    def claims(self) -> dict[str, int]:
        """Return how far each feed is by its own word; for metrics."""
        return {name: feed.claim for name, feed in self._feeds.items()}

    def up(self, name: str, slot: int) -> list[Hole]:
        """Take note of a subscription made at `slot`; return what was missed before it."""
        feed = self._feed(name)
        feed.up, feed.last, feed.since, feed.claim = True, None, slot, slot
        left_out_through, self._left_out_through = self._left_out_through, -1  # it is said of the start alone
        if self.frontier is None:
            # The slot of the subscription itself may be half told: it belongs to the hole, and to nothing without one.
            self.frontier = feed.since = feed.claim = feed.told = slot - 1
            return []
        # Not the frontier: what waits may hold back what is said of it.
        feed.told, feed.shown = max(self.frontier, slot), max(self._shown, feed.shown)
        left_out = min(left_out_through, slot)
        skipped = _holes(name, (self.frontier + 1, left_out, SKIPPED_BY_START))
        self.frontier = max(self.frontier, left_out)
        return [*skipped, *self._advance()]

    def down(self, name: str) -> list[Hole]:
        """Take note that a feed's connection is gone; return what is missed by that: others may cover less."""
        self._feed(name).up = False
        return self._advance()

    def restarted(self) -> None:
        """Take note that every connection is gone, and that nothing is known of what happens meanwhile."""
        for feed in self._feeds.values():
            feed.up = False

    def told(self, name: str, slot: int, oldest_pending: int | None, block_time: int | None = None) -> Progress | None:
        """Return how far `name` is now that it told everything through `slot`; None if no further than before."""
        feed = self._feeds.get(name)
        if feed is None or not feed.up:
            return None
        feed.claim = max(feed.claim, slot)
        self._advance()
        return self.progress(name, oldest_pending, block_time)

    def progress(self, name: str, oldest_pending: int | None, block_time: int | None = None) -> Progress | None:
        """Return how far a feed is, if that is further than was said before: below the frontier and what waits."""
        feed = self._feeds.get(name)
        if feed is None or self.frontier is None:
            return None
        slot = min(feed.claim, self.frontier)
        if oldest_pending is not None:
            slot = min(slot, oldest_pending - 1)
        if slot <= feed.shown:
            return None
        feed.shown = slot
        self._shown = max(self._shown, slot)
        return Progress(feed=name, slot=slot, block_time=block_time)

    def block(self, block: BlockSeen, oldest_pending: int | None) -> list[Hole | Progress]:
        """Return what was missed before a block or of it, then how far its feed is."""
        feed = self._feeds.get(block.feed)
        if feed is None or not feed.up:
            return []
        out: list[Hole | Progress] = [*_missed(feed, block)]
        feed.last = block.slot if feed.last is None else max(feed.last, block.slot)
        feed.told = max(feed.told, block.slot)
        progress = self.told(block.feed, block.slot, oldest_pending, block.block_time)
        return out if progress is None else [*out, progress]

    def _feed(self, name: str) -> _Feed:
        return self._feeds.setdefault(name, _Feed())

    def _advance(self) -> list[Hole]:
        """Move the frontier on, over what feeds told and over what none of those that are up did: that is missed."""
        holes: list[Hole] = []
        up = {name: feed for name, feed in self._feeds.items() if feed.up}
        while up and self.frontier is not None:
            frontier = max([self.frontier, *(feed.claim for feed in up.values() if feed.since <= self.frontier)])
            if frontier == self.frontier:
                if any(feed.since <= frontier for feed in up.values()):
                    break
                name, feed = min(up.items(), key=lambda item: item[1].since)
                holes += _holes(name, (frontier + 1, feed.since, "feed_away"))
                frontier = feed.since
            self.frontier = frontier
        return holes


def _missed(feed: _Feed, block: BlockSeen) -> list[Hole]:
    """Return the slots that a block shows to be missing: those behind the last one, and its own."""
    ranges: list[tuple[int, int, str]] = []
    if feed.last is None and block.slot > feed.told and block.parent_slot > feed.told:
        # The first block that is told again after a start: all through `told` is stored, and it names another parent.
        ranges.append((feed.told + 1, block.slot - 1, "parent_not_told"))
    if feed.last is not None and block.slot > feed.told and block.parent_slot != feed.last:
        first_slot = feed.told + 1
        if block.parent_slot < feed.last:  # another branch: nothing of it is known to be told from there on
            first_slot = max(block.parent_slot, first_slot - _LONGEST_BRANCH_SLOTS)
        ranges.append((first_slot, block.slot - 1, "parent_not_told"))
    if block.unreadable:
        ranges.append((block.slot, block.slot, "block_unreadable"))
    return _holes(block.feed, *ranges)


def _holes(feed: str, *ranges: tuple[int, int, str]) -> list[Hole]:
    """Return the ranges of slots that are not empty as holes."""
    return [
        Hole(first_slot=first_slot, last_slot=last_slot, reason=reason, feed=feed)
        for first_slot, last_slot, reason in ranges
        if first_slot <= last_slot
    ]
