"""
The ledgers with what is in flight, each counted where it is: what came in went out, or is under way.

None of these numbers is the difference of others, so that a loss shows as one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from decoders.core.types import Fact, TxNotice
from monitor.pipeline.ledger import EVERY_PROGRAM, of_notice
from monitor.sources.notices import Journaled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.channel import Channel
    from monitor.pipeline.decode import Decoding, Durable
    from monitor.pipeline.ledger import Ledger
    from monitor.pipeline.write import Writing
    from monitor.sources.notices import Notice

Key = tuple[str, ...]
_OUTCOMES = {"failed": "failed_on_chain"}


class Entrance(Protocol):
    """Where notices come in."""

    @property
    def entered(self) -> Mapping[tuple[str, str], int]:
        """Transactions that came in since the process started, by feed and program."""

    @property
    def at_door(self) -> Mapping[str, int]:
        """Transactions that have not come in yet, because there is no room, by feed."""

    @property
    def read_back(self) -> Mapping[str, int]:
        """Transactions that came in from the journal, by feed."""

    @property
    def on_disk(self) -> Mapping[tuple[str, str], int]:
        """Those of them that stand in the journal and are yet to be put on the wire."""

    @property
    def kept(self) -> Mapping[tuple[str, str], int]:
        """Those of them that a standby had kept when it took over: they come in again, or the writer told them."""

    @property
    def lost(self) -> Mapping[tuple[str, str], int]:
        """Those of them that the journal cannot give back."""


class Heard(Protocol):
    """What a feed itself has counted."""

    received: int
    repeats: int
    irrelevant: int
    malformed: int
    in_hand: int


@dataclass(frozen=True, slots=True)
class FeedAccount:
    """Transactions between what a feed hears and the entrance, by feed: what it received entered, or was put aside."""

    entrance: Entrance
    feeds: Mapping[str, Heard]

    @property
    def came(self) -> Mapping[Key, int]:
        """Return what was received, or read back."""
        return {(name,): heard.received + self.entrance.read_back.get(name, 0) for name, heard in self.feeds.items()}

    @property
    def went(self) -> Mapping[Key, int]:
        """Return what became of it."""
        went: Counter[Key] = Counter()
        for (name, _), count in self.entrance.entered.items():
            if name in self.feeds:
                went[name, "entered"] += count
        for name, heard in self.feeds.items():
            went[name, "repeat"] = heard.repeats
            went[name, "irrelevant"] = heard.irrelevant
            went[name, "malformed"] = heard.malformed
        return went

    @property
    def in_flight(self) -> Mapping[Key, int]:
        """Return what is in a feed's hand, or waits at the entrance."""
        return {(name,): heard.in_hand + self.entrance.at_door.get(name, 0) for name, heard in self.feeds.items()}


@dataclass(frozen=True, slots=True)
class NoticeAccount:
    """Transactions, by feed and program. Those that a feed itself put aside count for every program."""

    entrance: Entrance
    wire: Channel[Notice | Journaled]
    ledger: Ledger
    feeds: Mapping[str, Heard]

    @property
    def came(self) -> Mapping[Key, int]:
        """Return what came in."""
        came: Counter[Key] = Counter(self.entrance.entered)
        for name, heard in self.feeds.items():
            came[name, EVERY_PROGRAM] += heard.repeats + heard.irrelevant + heard.malformed
        return came

    @property
    def went(self) -> Mapping[Key, int]:
        """Return what became of it."""
        went: Counter[Key] = Counter()
        for (feed, program, outcome), count in self.ledger.notices.items():
            went[feed, program, _OUTCOMES.get(outcome, outcome)] += count
        for outcome, counts in (("kept", self.entrance.kept), ("lost", self.entrance.lost)):
            went.update({(*key, outcome): count for key, count in counts.items()})
        for name, heard in self.feeds.items():
            went[name, EVERY_PROGRAM, "repeat"] += heard.repeats
            went[name, EVERY_PROGRAM, "irrelevant"] += heard.irrelevant
            went[name, EVERY_PROGRAM, "malformed"] += heard.malformed
        return went

    @property
    def in_flight(self) -> Mapping[Key, int]:
        """Return what is under way."""
        found: Counter[Key] = Counter(self.entrance.on_disk)
        for item in self.wire.waiting():
            notice = item.notice if isinstance(item, Journaled) else item
            if isinstance(notice, TxNotice):
                found[of_notice(notice)] += 1
        return found


@dataclass(frozen=True, slots=True)
class EventAccount:
    """Facts, by program (its decoder's name)."""

    ledger: Ledger
    decoding: Decoding
    durable: Channel[Durable]
    writing: Writing

    @property
    def came(self) -> Mapping[Key, int]:
        """Return what was decoded."""
        return {(venue,): count for venue, count in self.ledger.told_by_venue.items()}

    @property
    def went(self) -> Mapping[Key, int]:
        """Return what became of it."""
        return {(venue, outcome): count for (venue, outcome), count in self.ledger.facts.items()}

    @property
    def in_flight(self) -> Mapping[Key, int]:
        """Return what is under way: with decode, in the channel, in the batch that is being committed."""
        found: Counter[Key] = Counter({(venue,): count for venue, count in self.writing.in_hand.items()})
        for item in (*self.decoding.in_hand, *self.durable.waiting()):
            if isinstance(item, Fact):
                found[item.venue,] += 1
        return found
