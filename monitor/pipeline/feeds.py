"""How far each feed is, and what it did not tell (pure)."""

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
    `claimed` is the highest slot that progress may stand at; progress waits below what is pending.

    Everything through `told` was told or is in a hole. `last` is the newest block of this connection.
    """

    claimed: int | None
    told: int = -1
    last: int | None = None
    up: bool = False


class Feeds:
    """
    Turns what sources say of themselves into progress and holes.

    What lies between a feed's progress and the slot of its next subscription was missed, and is a hole. So is what a
    feed of blocks leaves out while it is up: each block names its parent, and slots were skipped only where that is the
    block told before.
    """

    def __init__(self, resume: dict[str, int], left_out_through: int = -1) -> None:
        """
        Begin with the slot up to which each feed told everything (absent: from its first subscription).

        What is missing up to slot `left_out_through` is left out on purpose.
        """
        self._left_out_through = left_out_through
        self._feeds = {name: _Feed(slot) for name, slot in resume.items()}

    def up(self, feed: str, slot: int) -> list[Hole]:
        """Take note of a subscription made at `slot`; return what was missed before it."""
        state = self._feeds.setdefault(feed, _Feed(None))
        state.up, state.last = True, None
        left_out_through, self._left_out_through = self._left_out_through, -1  # it is said of the start alone
        if state.claimed is None:
            # The slot of the subscription itself may be half told: it belongs to the hole, and to nothing without one.
            state.claimed, state.told = slot, slot - 1
            return []
        begun, wanted = state.claimed + 1, max(state.claimed, min(left_out_through, slot)) + 1
        state.claimed = state.told = max(state.claimed, slot)
        return _holes(feed, (begun, wanted - 1, SKIPPED_BY_START), (wanted, slot, "feed_away"))

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

    def block(self, block: BlockSeen, oldest_pending: int | None) -> list[Hole | Progress]:
        """Return what was missed before a block or of it, then how far its feed is."""
        state = self._feeds.get(block.feed)
        if state is None or not state.up:
            return []
        out: list[Hole | Progress] = [*_missed(state, block)]
        state.last = block.slot if state.last is None else max(state.last, block.slot)
        state.told = max(state.told, block.slot)
        progress = self.told(block.feed, block.slot, oldest_pending, block.block_time)
        return out if progress is None else [*out, progress]


def _missed(state: _Feed, block: BlockSeen) -> list[Hole]:
    """Return the slots that a block shows to be missing: those behind the last one, and its own."""
    ranges: list[tuple[int, int, str]] = []
    if state.last is not None and block.slot > state.told and block.parent_slot != state.last:
        first_slot = state.told + 1
        if block.parent_slot < state.last:  # another branch: nothing of it is known to be told from there on
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
