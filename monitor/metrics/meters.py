"""
Reads what the parts of a daemon have counted, for Prometheus.

Counts live where they are made (`Ledger`, `FeedTally`, `RpcTally`, `Channel`) and a scrape reads them: no hot path
touches a metric.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from prometheus_client.registry import Collector

from monitor.metrics import declared as m
from monitor.metrics.counts import difference
from monitor.metrics.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from prometheus_client.core import Metric

    from monitor.metrics.counts import (
        Account,
        DropCount,
        FeedCounts,
        FinalityCounts,
        Health,
        HistoryCounts,
        HoleCounts,
        JournalCounts,
        LedgerCounts,
        Queue,
        RaceCounts,
        RpcCounts,
        UpkeepCounts,
    )

TRADE = "trade"
UNKNOWN_DISCRIMINATOR = "unknown_discriminator"
_FAULT_REASONS = frozenset({UNKNOWN_DISCRIMINATOR, "no_base64", "undecodable", "refused", "beyond_retention"})
_FEED_COUNTS: tuple[tuple[m.Counter, Callable[[FeedCounts], int]], ...] = (
    (m.FEED_FRAMES, lambda tally: tally.frames),
    (m.FEED_BYTES, lambda tally: tally.frame_bytes),
    (m.FEED_RECEIVED, lambda tally: tally.received),
    (m.FEED_REPEATS, lambda tally: tally.repeats),
    (m.FEED_IRRELEVANT, lambda tally: tally.irrelevant),
    (m.FEED_MALFORMED, lambda tally: tally.malformed),
    (m.FEED_FORWARDED, lambda tally: tally.forwarded),
    (m.FEED_CONNECTS, lambda tally: tally.connects),
    (m.FEED_STRAYS, lambda tally: tally.strays),
)


class Meters(Collector):
    """Reads the parts of a daemon at each scrape. What is not handed over is not told."""

    def __init__(
        self, ledger: LedgerCounts, health: Health, drops: DropCount, now: Callable[[], float] = time.time
    ) -> None:
        """Read these counts (`now`: Unix seconds); the other methods add what only some runs have."""
        self._ledger = ledger
        self.health = health
        """Who knows how the daemon is."""
        self._commits = health.commits
        self._drops = drops
        self._now = now
        self._started_at = now()
        self._names: Mapping[str, str] = {}
        self._accounts: dict[str, Account] = {}
        self._feeds: dict[str, FeedCounts] = {}
        self._up: Container[str] | None = None
        self._race: Mapping[str, RaceCounts] = {}
        self._race_bounds_s: Sequence[float] = ()
        self._rpc: dict[str, RpcCounts] = {}
        self._waiting: Callable[[], int] | None = None
        self._channels: list[Queue] = []
        self._history: HistoryCounts | None = None
        self._finality: FinalityCounts | None = None
        self._holes: HoleCounts | None = None
        self._upkeep: UpkeepCounts | None = None
        self._journal: tuple[JournalCounts, int, Histogram | None] | None = None
        self._disks: dict[str, Path] = {}

    def programs(self, names: Mapping[str, str]) -> None:
        """
        Tell of these programs (address: name) from the start, with zeros.

        One that is silent must have a rate, and the first of what must never be is a rise only if a zero stood before.
        """
        self._names = names

    def account(self, ledger: Literal["feeds", "notices", "events"], account: Account) -> None:
        """Read one side of the ledger, and tell by how much it does not add up."""
        self._accounts[ledger] = account

    def feed(self, name: str, tally: FeedCounts) -> None:
        """Read a feed's counts."""
        self._feeds[name] = tally

    def up(self, feeds: Container[str]) -> None:
        """Read which feeds are up."""
        self._up = feeds

    def race(self, feeds: Mapping[str, RaceCounts], bounds_s: Sequence[float]) -> None:
        """Read how several feeds compare; `bounds_s` are those of `RaceCounts.behind`."""
        self._race = feeds
        self._race_bounds_s = bounds_s

    def rpc(self, tally: RpcCounts, waiting: Callable[[], int] | None = None, endpoint: str = "node") -> None:
        """Read an RPC client's counts (`endpoint`: its name, no address), and how many fetches wait."""
        self._rpc[endpoint] = tally
        self._waiting = waiting or self._waiting

    def history(self, tally: HistoryCounts) -> None:
        """Read the counts of the filling of holes."""
        self._history = tally

    def finality(self, tally: FinalityCounts) -> None:
        """Read the counts of the comparison with the finalized chain."""
        self._finality = tally

    def holes(self, holes: HoleCounts) -> None:
        """Read which holes are open."""
        self._holes = holes

    def upkeep(self, tally: UpkeepCounts) -> None:
        """Read the counts of what keeps the database in shape."""
        self._upkeep = tally

    def journal(self, journal: JournalCounts, limit_bytes: int, fsync_seconds: Histogram | None = None) -> None:
        """Read how full the journal is, and how far it is committed."""
        self._journal = journal, limit_bytes, fsync_seconds

    def disk(self, of: str, folder: Path) -> None:
        """Read how full the disk of a folder is."""
        self._disks[of] = folder

    def watch(self, *channels: Queue | None) -> None:
        """Read how full these channels are, and what they dropped."""
        self._channels += [channel for channel in channels if channel is not None]

    def collect(self) -> Iterable[Metric]:
        """Yield every metric as it is now."""
        yield from self._process()
        yield from self._accounted()
        yield from self._events()
        yield from self._place()
        yield from self._of_holes()
        yield from self._written()
        yield from self._of_feeds()
        yield from self._of_journal()
        yield from self._queues()
        yield from self._of_rpc()

    def _process(self) -> Iterator[Metric]:
        yield m.BUILD.by({(_version(), platform.python_version()): 1})
        yield m.STARTED.one(self._started_at)
        yield m.TASKS.one(_tasks())
        yield m.STANDBY.one(int(self._commits.is_standby))
        alive, ready = self.health.liveness(), self.health.readiness()
        yield m.ALIVE.one(int(all(check.is_ok for check in alive)))
        yield m.READY.one(int(all(check.is_ok for check in ready)))
        yield m.CHECK.by({(check.name,): int(check.is_ok) for check in ready})

    def _accounted(self) -> Iterator[Metric]:
        accounts = self._accounts
        if notices := accounts.get("notices"):
            yield m.NOTICES_RECEIVED.by(self._named(notices.came))
            yield m.NOTICES.by(self._named(notices.went))
            yield m.NOTICES_IN_FLIGHT.by(self._named(notices.in_flight))
        if events := accounts.get("events"):
            yield m.EVENTS_DECODED.by(events.came)
            yield m.EVENTS_SETTLED.by(events.went)
            yield m.EVENTS_IN_FLIGHT.by(events.in_flight)
        if accounts:
            yield m.DIFFERENCE.by({(name,): difference(account) for name, account in accounts.items()})

    def _named(self, counts: Mapping[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
        """Return counts of notices with their programs' names for addresses."""
        return {(feed, self._names.get(at, at), *rest): count for (feed, at, *rest), count in counts.items()}

    def _events(self) -> Iterator[Metric]:
        ledger, programs = self._ledger, self._names.values()
        unknown = dict.fromkeys(programs, 0)
        faults: dict[tuple[str, ...], int] = {(program, why): 0 for program in programs for why in _FAULT_REASONS}
        for (program, said), count in ledger.faults.items():
            reason = said if said in _FAULT_REASONS else "undecodable"
            faults[program, reason] = faults.get((program, reason), 0) + count
            if reason == UNKNOWN_DISCRIMINATOR:
                unknown[program] = unknown.get(program, 0) + count
        yield m.EVENTS.by({(program, TRADE): 0 for program in programs} | _keyed(ledger.events))
        yield m.FAULTS.by(faults)
        yield m.UNKNOWN.by(_single(unknown))
        yield m.TAIL_BYTES.by(_single({**dict.fromkeys(programs, 0), **ledger.tail_bytes}))
        yield m.FOREIGN.one(ledger.foreign)

    def _place(self) -> Iterator[Metric]:
        ledger, commits, feeds = self._ledger, self._commits, self._feeds
        if ledger.newest_time:
            yield m.LAG.one(max(self._now() - ledger.newest_time, 0.0))
        yield m.SLOT_NEWEST.one(ledger.newest_slot)
        yield m.SLOT_HEAD.by({(name,): feed.head_slot for name, feed in feeds.items() if feed.head_slot is not None})
        yield m.SLOT_ROOT.by({(name,): feed.root_slot for name, feed in feeds.items() if feed.root_slot is not None})
        yield m.SLOT_PROGRESS.by(_single(commits.progress))
        if commits.final_through is not None:
            yield m.SLOT_FINAL.one(commits.final_through)
        if (finality := self._finality) is not None:
            yield m.FINALITY_ROWS.one(finality.compared)
            yield m.FINALITY_DOUBTS.one(finality.doubted)
            yield m.FINALITY_FAILURES.one(finality.failed)

    def _of_holes(self) -> Iterator[Metric]:
        yield m.HOLES_FILLED.by(_single(self._commits.holes_filled))
        if (holes := self._holes) is not None and holes.looked_at is not None:
            yield m.HOLES_FOUND.by(holes.found)
            yield m.HOLES_OPEN.by(holes.open)
            yield m.HOLES_SLOTS.by(holes.slots)
            yield m.HOLES_LEFT.by(holes.left)
            yield m.HOLES_LEFT_SLOTS.by(holes.left_slots)
            yield m.HOLES_OLDEST.one(0 if holes.oldest_at is None else max(self._now() - holes.oldest_at, 0.0))
        if (history := self._history) is not None:
            yield m.HISTORY_BLOCKS.one(history.blocks)
            yield m.HISTORY_TRANSACTIONS.one(history.transactions)
            yield m.HISTORY_TRIES.by({("filled",): history.filled, ("failed",): history.failed})

    def _written(self) -> Iterator[Metric]:
        commits, zeros = self._commits, dict.fromkeys(self._names.values(), 0)
        yield m.BATCH_ROWS.by({(): commits.batch_rows})
        yield m.BATCH_SECONDS.by({(): commits.batch_seconds})
        yield m.RETRIES.one(commits.retries)
        yield m.RETRYING.one(int(commits.retrying is not None))
        yield m.VOIDED.by(_single({**zeros, **commits.voided}))
        yield m.REVIVED.by(_single({**zeros, **commits.revived}))
        yield m.REDECODED.by(_single(commits.redecoded))
        if (upkeep := self._upkeep) is not None:
            yield m.CANDLE_MARKS.one(upkeep.marks)
            yield m.CANDLE_MARKS_AGE.one(upkeep.oldest_mark_age_s)
            yield m.PIECES.one(upkeep.pieces)
            yield m.PIECES_DROPPED.one(upkeep.dropped_pieces)
            yield m.UPKEEP_FAILURES.by(_single(upkeep.failures))
            if upkeep.trades_from is not None:
                yield m.TRADES_FROM.one(upkeep.trades_from)

    def _of_feeds(self) -> Iterator[Metric]:
        for metric, read in _FEED_COUNTS:
            yield metric.by({(feed,): read(tally) for feed, tally in self._feeds.items()})
        feeds = self._feeds.items()
        yield m.FEED_BEHIND_SLOTS.by({(feed,): tally.behind_slots for feed, tally in feeds})
        if (up := self._up) is not None:
            yield m.FEED_UP.by({(feed,): int(feed in up) for feed in self._feeds})
        yield m.FEED_LOSSES.by({(feed, why): count for feed, tally in feeds for why, count in tally.losses.items()})
        if race := self._race:
            bounds_s = self._race_bounds_s
            yield m.FEED_FIRST.by({(feed,): count.first for feed, count in race.items()})
            yield m.FEED_MISSES.by({(feed,): count.missed for feed, count in race.items()})
            yield m.FEED_BEHIND.by(
                {(feed,): Histogram.of(bounds_s, count.behind, count.behind_s) for feed, count in race.items()}
            )

    def _of_journal(self) -> Iterator[Metric]:
        if self._journal is not None:
            journal, limit_bytes, fsync_seconds = self._journal
            yield m.JOURNAL_BYTES.one(journal.stored_bytes)
            yield m.JOURNAL_LIMIT.one(limit_bytes)
            yield m.JOURNAL_NEWEST.one(journal.newest_seq)
            yield m.JOURNAL_DONE.one(self._commits.done_seq.get(journal.id, 0))
            yield m.JOURNAL_FULL.one(int(journal.is_full))
            if fsync_seconds is not None:
                yield m.JOURNAL_FSYNC.by({(): fsync_seconds})
        rooms = {of: os.statvfs(folder) for of, folder in self._disks.items()}
        yield m.DISK_FREE.by({(of,): room.f_bavail * room.f_frsize for of, room in rooms.items()})
        yield m.DISK_SIZE.by({(of,): room.f_blocks * room.f_frsize for of, room in rooms.items()})

    def _queues(self) -> Iterator[Metric]:
        yield m.CHANNEL_DEPTH.by({(channel.name,): len(channel) for channel in self._channels})
        yield m.CHANNEL_CAPACITY.by({(channel.name,): channel.capacity for channel in self._channels})
        drops = {"redis": self._drops.count} | {c.name: c.dropped for c in self._channels if c.name == "live"}
        yield m.DROPPED.by(_single(drops))

    def _of_rpc(self) -> Iterator[Metric]:
        rpc = self._rpc.items()
        if self._rpc:
            yield m.RPC_REQUESTS.by({(at, *key): count for at, tally in rpc for key, count in tally.requests.items()})
            yield m.RPC_SECONDS.by({(at, key): took for at, tally in rpc for key, took in tally.seconds.items()})
            yield m.RPC_BYTES.by({(at,): tally.answer_bytes for at, tally in rpc})
        if self._waiting is not None:
            yield m.PENDING.one(self._waiting())


def _tasks() -> int:
    """Return how many tasks there are; who collects outside of an event loop has none."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


def _version() -> str:
    try:
        return metadata.version("launch-monitor")
    except metadata.PackageNotFoundError:
        return "?"


def _keyed(values: Mapping[tuple[str, str], float]) -> dict[tuple[str, ...], float]:
    return {**values}  # type: ignore[dict-item]  # a pair is a tuple; keys of mappings are invariant


def _single(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(label,): value for label, value in values.items()}
