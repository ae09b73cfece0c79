"""Which of several feeds tells a transaction first, by how much, and which of them misses some (pure)."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

BEHIND_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WINDOW_S = 30.0
_MOST = 200_000


@dataclass(slots=True)
class _Telling:
    at_s: float
    is_timed: bool
    awaited: frozenset[str]
    """Feeds that were up when it was first told."""
    told_by: set[str]


@dataclass(slots=True)
class FeedLead:
    """
    How one feed does against the others, since the process started.

    `first` transactions it told before all others, `missed` ones not within 30 s of the first feed though it was up.
    `behind` counts by bucket how much later than the first one it told (the last bucket: beyond all bounds), with the
    sum in `behind_s`.
    """

    first: int = 0
    later: int = 0
    missed: int = 0
    behind_s: float = 0.0
    behind: list[int] = field(default_factory=lambda: [0] * (len(BEHIND_BUCKETS_S) + 1))


class Leads:
    """Hears of each transaction that a live feed tells; it forgets after 30 s."""

    def __init__(self, feeds: Collection[str]) -> None:
        """Compare these feeds; with less than two there is nothing to compare, and nothing is remembered."""
        self.compares = len(feeds) > 1
        self.feeds = {name: FeedLead() for name in feeds}
        self._tellings: dict[tuple[str, int], _Telling] = {}
        self._now_s = 0.0

    def told(self, feed: str, signature: str, slot: int, now_s: float | None, up: Collection[str]) -> None:
        """
        Take note that `feed` told a transaction at loop time `now_s`, while the feeds `up` were up.

        `now_s` None: it was read back from disk, and nobody knows when it was told. By that no feed is first or behind,
        and none misses it that told it.
        """
        if not self.compares or feed not in self.feeds:
            return
        if now_s is not None:
            self._now_s = now_s
        self._expire(self._now_s)
        key = (signature, slot)
        telling = self._tellings.get(key)
        if telling is None:
            is_timed = now_s is not None
            awaited = frozenset(up) | {feed} if is_timed else frozenset()
            self._tellings[key] = _Telling(self._now_s, is_timed, awaited, {feed})
            self.feeds[feed].first += is_timed
        elif feed not in telling.told_by:
            telling.told_by.add(feed)
            if telling.is_timed and now_s is not None:
                self._behind(self.feeds[feed], now_s - telling.at_s)

    def _behind(self, lead: FeedLead, behind_s: float) -> None:
        lead.later += 1
        lead.behind_s += behind_s
        lead.behind[bisect_left(BEHIND_BUCKETS_S, behind_s)] += 1

    def _expire(self, now_s: float) -> None:
        while self._tellings:
            key, telling = next(iter(self._tellings.items()))
            if now_s - telling.at_s < _WINDOW_S and len(self._tellings) < _MOST:
                return
            del self._tellings[key]
            for name in telling.awaited - telling.told_by:
                if name in self.feeds:
                    self.feeds[name].missed += 1
