"""
What is put on the wire for what is read back from a journal (pure).

Numbers that cannot be read any more are told as what they are: time in which each feed was away. `FeedDown` stands in
their place for each feed that was up, and a `FeedUp` before the next thing by which such a feed says how far it is:
what lies between becomes a hole. Until then `seq` stays below the gap, so that a crash between the two tells all of it
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.pipeline.upfeeds import UpFeeds
from monitor.sources.notices import BlockSeen, EndOfInput, FeedDown, FeedUp, Journaled, Restarted, SlotSeen

if TYPE_CHECKING:
    from monitor.sources.notices import Notice

GAP_REASON = "journal_gap"


class Retelling:
    """
    Follows what was told, and mends what a gap left out.

    What stands up to `done_seq` was told to an earlier life: it only tells which feeds are up, and they are told first.
    What stands up to `replayed_through` is marked as replayed.
    """

    def __init__(self, done_seq: int = 0, replayed_through: int = 0, snapshot: bytes = b"") -> None:
        self._done_seq = done_seq
        self._replayed_through = replayed_through
        self._up = UpFeeds(snapshot)
        self._has_begun = False
        self._away: set[str] = set()
        self._below_gap = 0

    @property
    def is_mending(self) -> bool:
        """Tell whether a feed that was up before a gap is not known to be up behind it."""
        return bool(self._away)

    def note(self, notice: Notice) -> None:
        """Take note of what was told without passing through here."""
        self._has_begun = True
        self._up.note(notice)

    def notice(self, seq: int, notice: Notice) -> list[Journaled]:
        """Return what is told for a notice."""
        if seq <= self._done_seq:
            self._up.note(notice)
            return []
        out = self._beginning()
        match notice:
            case SlotSeen(slot=slot, feed=feed) | BlockSeen(slot=slot, feed=feed) if feed in self._away:
                out.append(self._told(seq - 1, FeedUp(feed, slot)))
                self._settle(FeedUp(feed, slot))
            case _:
                pass
        self._settle(notice)
        return [*out, self._told(seq, notice)]

    def gap(self, first_seq: int, last_seq: int, after: bytes | None) -> list[Journaled]:
        """Return what is told where numbers are lost. `after` is the snapshot of `UpFeeds` behind them, if known."""
        if last_seq <= self._done_seq:
            self._up = UpFeeds(after or b"")
            return []
        out = self._beginning()
        if not self._away:
            self._below_gap = first_seq - 1
        down = [FeedDown(feed, GAP_REASON) for feed in self._up]
        self._away |= {*self._up, *UpFeeds(after or b"")}
        for notice in down:
            self._up.note(notice)
        return [*out, *(self._told(last_seq, notice) for notice in down)]

    def _beginning(self) -> list[Journaled]:
        """Return, once, which feeds are up where the telling begins."""
        if self._has_begun:
            return []
        self._has_begun = True
        return [self._told(self._done_seq, notice) for notice in self._up.notices()]

    def _settle(self, notice: Notice) -> None:
        self._up.note(notice)
        match notice:
            case FeedUp(feed=feed) | FeedDown(feed=feed) | EndOfInput(feed=feed):
                self._away.discard(feed)
            case Restarted():
                self._away.clear()
            case _:
                pass

    def _told(self, seq: int, notice: Notice) -> Journaled:
        known = min(seq, self._below_gap) if self._away else seq
        return Journaled(known, notice, seq <= self._replayed_through)
