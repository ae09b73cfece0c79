"""Which holes are open: asked of the database now and then, for those who watch."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from monitor.errors import StoreUnavailable
from monitor.store.batch import SKIPPED_BY_START

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

LEFT_ON_PURPOSE = frozenset({SKIPPED_BY_START})
AUDIT = "audit"
_MOST = 10_000
_EVERY_S = 15.0


class HoleRow(Protocol):
    """What is read of a hole."""

    @property
    def id(self) -> int:
        """Its number, which rises."""

    @property
    def reason(self) -> str:
        """Why it is there."""

    @property
    def first_slot(self) -> int:
        """Its first slot."""

    @property
    def last_slot(self) -> int:
        """Its last slot."""

    @property
    def filled_through(self) -> int | None:
        """Slot up to which it is filled already; None: nothing of it is."""

    @property
    def signature(self) -> str | None:
        """The transaction; None: everything in these slots."""

    @property
    def seen_at(self) -> datetime:
        """When it was recorded."""


class Holes(Protocol):
    """Where holes are kept."""

    async def holes(self, *, open_only: bool, limit: int) -> Sequence[HoleRow]:
        """Return the open ones, oldest slots first, or all, the last noticed first; may raise StoreUnavailable."""


@dataclass(slots=True)
class OpenHoles:
    """
    The open holes as they were at the last look; `looked_at` None: before the first one.

    `found` counts those that were recorded since that first one, by whomever: the daemon, a command, an audit.
    """

    looked_at: float | None = None
    oldest_at: float | None = None
    open: Counter[tuple[str, ...]] = field(default_factory=Counter)
    slots: Counter[tuple[str, ...]] = field(default_factory=Counter)
    left: Counter[tuple[str, ...]] = field(default_factory=Counter)
    left_slots: Counter[tuple[str, ...]] = field(default_factory=Counter)
    found: Counter[tuple[str, ...]] = field(default_factory=lambda: Counter({(AUDIT,): 0}))
    _newest_id: int | None = None

    async def run(self, store: Holes, every_s: float = _EVERY_S) -> None:
        """Look until cancelled. While the database is away the last look stands."""
        while True:
            with contextlib.suppress(StoreUnavailable):  # the writer says so, loudly
                self.noticed(await store.holes(open_only=False, limit=_MOST))
                self.saw(await store.holes(open_only=True, limit=_MOST), time.time())
            await asyncio.sleep(every_s)

    def noticed(self, holes: Sequence[HoleRow]) -> None:
        """Take these for the last ones that were recorded, open or not."""
        newest_id = max((hole.id for hole in holes), default=0)
        if self._newest_id is not None:
            self.found.update((hole.reason,) for hole in holes if hole.id > self._newest_id)
        self._newest_id = max(newest_id, self._newest_id or 0)

    def saw(self, holes: Sequence[HoleRow], now: float) -> None:
        """Take these for all open holes, at Unix second `now`."""
        filling = [hole for hole in holes if hole.reason not in LEFT_ON_PURPOSE]
        left = [hole for hole in holes if hole.reason in LEFT_ON_PURPOSE]
        # A reason that has no hole any more goes on with a zero: its series must fall, not vanish.
        self.open, self.slots = _sums(filling, self.open)
        self.left, self.left_slots = _sums(left, self.left)
        self.oldest_at = min((hole.seen_at.timestamp() for hole in filling), default=None)
        self.looked_at = now


def _sums(
    holes: Sequence[HoleRow], before: Counter[tuple[str, ...]]
) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    counts: Counter[tuple[str, ...]] = Counter(dict.fromkeys(before, 0))
    slots: Counter[tuple[str, ...]] = Counter(dict.fromkeys(before, 0))
    for hole in holes:
        begin = hole.first_slot if hole.filled_through is None else hole.filled_through + 1
        counts[(hole.reason,)] += 1
        slots[(hole.reason,)] += hole.last_slot - begin + 1
    return counts, slots
