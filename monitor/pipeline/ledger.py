"""Counts of everything that flows, so that nothing vanishes unnoticed: what came in went out, or is in flight."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.store.batch import BEYOND_RETENTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from decoders.core.types import Fact, TxNotice
    from monitor.store.batch import Written

EVERY_PROGRAM = "*"
"""The program of a notice that was not told for one program alone."""


def of_notice(notice: TxNotice) -> tuple[str, str]:
    """Return the feed and the program that a notice counts for."""
    return notice.feed, notice.program or EVERY_PROGRAM


@dataclass(slots=True)
class Ledger:
    """
    Counts since the process started; metrics read them at each scrape.

    Notices, by feed and program: received = decoded + failed + irrelevant. Events, by venue: told = stored + upgraded +
    duplicate + refused + other + filtered + in flight.
    """

    notices: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By feed, program and outcome ("decoded", "failed", "irrelevant")."""
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By venue and outcome."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    tail_bytes: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By venue and reason: "unknown_discriminator", "undecodable", "beyond_retention" or "refused"."""
    told_by_venue: Counter[str] = field(default_factory=Counter)
    foreign: int = 0
    voided: int = 0
    revived: int = 0
    redecoded: int = 0
    left_open: int = 0
    """Transactions that still waited for a better copy at the end, and became holes."""
    batches: int = 0
    head_slot: int = 0
    newest_slot: int = 0
    newest_time: int = 0

    def took(self, notice: TxNotice, outcome: str) -> None:
        """Count a notice that decode is done with."""
        self.notices[notice.feed, notice.program or EVERY_PROGRAM, outcome] += 1

    @property
    def received(self) -> int:
        """Return how many notices decode took."""
        return self.notices.total()

    @property
    def decoded(self) -> int:
        """Return how many of them said something."""
        return self._notices("decoded")

    @property
    def failed(self) -> int:
        """Return how many of them failed on the chain."""
        return self._notices("failed")

    @property
    def irrelevant(self) -> int:
        """Return how many of them said nothing of what is followed."""
        return self._notices("irrelevant")

    @property
    def told_count(self) -> int:
        """Return how many facts decode put out."""
        return self.told_by_venue.total()

    @property
    def stored(self) -> int:
        """Return how many facts are new in the database."""
        return self._facts("stored")

    @property
    def upgraded(self) -> int:
        """Return how many stored facts a later copy told more of."""
        return self._facts("upgraded")

    @property
    def duplicates(self) -> int:
        """Return how many facts said nothing new."""
        return self._facts("duplicate")

    @property
    def refused(self) -> int:
        """Return how many facts the database cannot hold."""
        return self._facts("refused")

    @property
    def other(self) -> int:
        """Return how many facts have no row of their own."""
        return self._facts("other")

    @property
    def filtered(self) -> dict[str, int]:
        """Return how many facts are not stored by choice, by venue."""
        return {venue: count for (venue, outcome), count in self.facts.items() if outcome == "filtered"}

    @property
    def in_flight(self) -> int:
        """Return how many facts were told and are not committed, refused or filtered yet."""
        return self.told_count - self.facts.total()

    def told(self, fact: Fact) -> None:
        """Count a fact that decode put out."""
        self.told_by_venue[fact.venue] += 1
        self.events[fact.venue, fact.kind] += 1
        if fact.kind == "fault":
            unknown = getattr(fact, "reason", "") == "unknown_discriminator"
            self.faults[fact.venue, "unknown_discriminator" if unknown else "undecodable"] += 1
        if fact.record is not None and fact.record.tail:
            self.tail_bytes[fact.venue] += len(fact.record.tail)
        self.newest_slot = max(self.newest_slot, fact.slot)
        if fact.block_time is not None and fact.block_time > self.newest_time:
            self.newest_time = fact.block_time

    def filtered_out(self, facts: Iterable[Fact]) -> None:
        """Count facts that are not stored by choice."""
        self._settle("filtered", facts)

    def wrote(self, written: Written) -> None:
        """Count what a commit did."""
        self.batches += 1
        self._settle("stored", written.new)
        self._settle("upgraded", (upgraded.new for upgraded in written.upgraded))
        self._settle("duplicate", written.duplicates)
        self._settle("refused", written.refused)
        self._settle("other", written.other)
        for fault in written.refused:
            why = BEYOND_RETENTION if fault.reason.endswith(BEYOND_RETENTION) else "refused"
            self.faults[fault.venue, why] += 1
        self.voided += len(written.voided)
        self.revived += len(written.revived)

    def _settle(self, outcome: str, facts: Iterable[Fact]) -> None:
        for fact in facts:
            self.facts[fact.venue, outcome] += 1

    def _notices(self, outcome: str) -> int:
        return sum(count for (_, _, was), count in self.notices.items() if was == outcome)

    def _facts(self, outcome: str) -> int:
        return sum(count for (_, was), count in self.facts.items() if was == outcome)
