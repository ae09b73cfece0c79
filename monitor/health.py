"""What the service manager and people are told about a running daemon: ready, alive, how far."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from monitor.pipeline.ledger import Ledger
    from monitor.sources.history import History
    from monitor.store.batch import Batch, Written


class Notifier(Protocol):
    """The service manager (`monitor.sdnotify`), or nobody."""

    def ready(self) -> None:
        """Tell that the daemon serves."""

    def alive(self) -> None:
        """Feed the watchdog."""

    def status(self, text: str) -> None:
        """Tell in one line how things are."""


@dataclass(slots=True)
class Health:
    """
    Whether the pipeline moves.

    It is alive while facts get settled, while there are none to settle, and while something is being retried and says
    why. Facts in flight that do not move, and nobody who knows the reason, are a daemon that hangs.
    """

    ledger: Ledger
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)
    retrying: str | None = None
    newest_commit_s: float | None = None
    commits: int = 0
    commit_rows: int = 0
    commit_seconds: float = 0.0
    _settled: int = -1
    _moved_at: float = field(default_factory=time.monotonic)

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """Take note of a commit."""
        del written
        self.commits += 1
        self.commit_rows += len(batch.facts)
        self.commit_seconds += seconds
        self.newest_commit_s = seconds

    def trouble(self, reason: str | None) -> None:
        """Take note that a commit is tried again because of `reason`, or (None) no longer."""
        self.retrying = reason

    def is_alive(self, patience_s: float) -> bool:
        """Tell whether something moved in the last `patience_s`, or nothing had to."""
        settled = self.ledger.told_count - self.ledger.in_flight
        now = time.monotonic()
        if settled != self._settled or self.ledger.in_flight == 0 or self.retrying is not None:
            self._settled, self._moved_at = settled, now
        return now - self._moved_at < patience_s

    def line(self, now: float) -> str:
        """Return one line for `systemctl status`; `now` in Unix seconds."""
        ledger = self.ledger
        if not self.subscribed.is_set():
            return "connecting"
        lag = f"{max(now - ledger.newest_time, 0):.0f} s behind" if ledger.newest_time else "no event yet"
        trouble = f"; retrying: {self.retrying}" if self.retrying else ""
        return f"slot {ledger.head_slot or ledger.newest_slot}, {lag}, {ledger.stored} facts stored{trouble}"


@dataclass(frozen=True, slots=True)
class Watchers:
    """Hears of commits: how the daemon is, and which holes there are."""

    health: Health
    history: History

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """A batch was committed within so many seconds."""
        self.health.committed(batch, written, seconds)
        if batch.holes or batch.filled:
            self.history.committed([filled.hole_id for filled in batch.filled if filled.hole_id is not None])

    def trouble(self, reason: str | None) -> None:
        """A commit is tried again because of `reason`; None: no longer."""
        self.health.trouble(reason)


async def beat(health: Health, notifier: Notifier, *, every_s: float, patience_s: float) -> None:
    """Tell the service manager until cancelled: ready once subscribed, then alive as long as the pipeline moves."""
    told_ready = False
    while True:
        if health.subscribed.is_set() and not told_ready:
            notifier.ready()
            told_ready = True
        if health.is_alive(patience_s):
            notifier.alive()
        notifier.status(health.line(time.time()))
        if told_ready:
            await asyncio.sleep(every_s)
        else:
            try:
                await asyncio.wait_for(health.subscribed.wait(), every_s)
            except TimeoutError:
                continue
