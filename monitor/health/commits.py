"""What commits have told: how many, how long, how far, and what else came with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.metrics import ROWS, SECONDS, Histogram

if TYPE_CHECKING:
    from monitor.store.batch import Batch, Resolved, Written


@dataclass(slots=True)
class Commits:
    """Counts since the process started; metrics read them at each scrape."""

    batch_rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    batch_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    retries: int = 0
    retrying: str | None = None
    """Why a commit is tried again; None: none is."""
    is_standby: bool = False
    """Whether another daemon writes, and this one stands by."""
    final_through: int | None = None
    progress: dict[str, int] = field(default_factory=dict)
    done_seq: dict[str, int] = field(default_factory=dict)
    holes_filled: Counter[str] = field(default_factory=Counter)
    voided: Counter[str] = field(default_factory=Counter)
    revived: Counter[str] = field(default_factory=Counter)
    redecoded: Counter[str] = field(default_factory=Counter)

    def committed(self, batch: Batch, written: Written, seconds: float) -> bool:
        """Take note of a commit; tell whether progress moved with it."""
        self.batch_rows.observe(len(batch.facts))
        self.batch_seconds.observe(seconds)
        self.holes_filled.update(filled.by for filled in batch.filled)
        self.voided.update(fact.venue for fact in written.voided)
        self.revived.update(fact.venue for fact in written.revived)
        self.redecoded.update(map(_how, batch.resolved))
        if batch.done is not None:
            self.done_seq[batch.done.journal_id] = batch.done.seq
        if batch.final is not None:
            self.final_through = batch.final.through
        before = dict(self.progress)
        for item in batch.progress:
            self.progress[item.feed] = max(item.slot, self.progress.get(item.feed, 0))
        return self.progress != before

    def trouble(self, reason: str | None) -> None:
        """Take note that a commit is tried again because of `reason`, or (None) no longer."""
        self.retrying = reason
        if reason is not None:
            self.retries += 1


def _how(resolved: Resolved) -> str:
    return resolved.by
