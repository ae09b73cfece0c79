"""Counts of everything that flows, so that nothing vanishes unnoticed: what came in went out, or is in flight."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decoders.core.types import Fact
    from monitor.store.batch import Written


@dataclass(slots=True)
class Ledger:
    """
    Counts since the process started; metrics read them at each scrape.

    Notices: received = decoded + failed + irrelevant. Events: told = stored + upgraded + duplicate + refused + other +
    filtered + in flight.
    """

    received: int = 0
    decoded: int = 0
    failed: int = 0
    irrelevant: int = 0
    foreign: int = 0
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    tail_bytes: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    upgraded: int = 0
    duplicates: int = 0
    refused: int = 0
    other: int = 0
    told_count: int = 0
    left_open: int = 0
    """Transactions that still waited for a better copy at the end, and became holes."""
    batches: int = 0
    head_slot: int = 0
    newest_slot: int = 0
    newest_time: int = 0

    @property
    def in_flight(self) -> int:
        """Return how many facts were told and are not committed, refused or filtered yet."""
        settled = self.stored + self.upgraded + self.duplicates + self.refused + self.other
        return self.told_count - settled - self.filtered.total()

    def told(self, fact: Fact) -> None:
        """Count a fact that decode put out."""
        self.told_count += 1
        self.events[fact.venue, fact.kind] += 1
        if fact.kind == "fault":
            self.faults[fact.venue, "undecodable"] += 1
        if fact.record is not None and fact.record.tail:
            self.tail_bytes[fact.venue] += len(fact.record.tail)
        self.newest_slot = max(self.newest_slot, fact.slot)
        if fact.block_time is not None and fact.block_time > self.newest_time:
            self.newest_time = fact.block_time

    def wrote(self, written: Written) -> None:
        """Count what a commit did."""
        self.batches += 1
        self.stored += len(written.new)
        self.upgraded += len(written.upgraded)
        self.duplicates += len(written.duplicates)
        self.refused += len(written.refused)
        self.other += len(written.other)
