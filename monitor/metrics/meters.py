"""
Every metric of the daemon, for Prometheus.

Counts live where they are made (`Ledger`, `FeedTally`, `RpcTally`, `Channel`) and a scrape reads them: no hot path
touches a metric. No mint and no wallet is a label.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

PREFIX = "launch_monitor_"
Labels = TypeVar("Labels", bound=tuple[str, ...])


class LedgerCounts(Protocol):
    """What the pipeline has counted since the process started."""

    received: int
    decoded: int
    failed: int
    irrelevant: int
    foreign: int
    stored: int
    upgraded: int
    duplicates: int
    refused: int
    other: int
    head_slot: int
    newest_slot: int
    newest_time: int

    @property
    def events(self) -> Mapping[tuple[str, str], int]:
        """Facts by (venue, kind)."""

    @property
    def faults(self) -> Mapping[tuple[str, str], int]:
        """Faults by (venue, reason)."""

    @property
    def filtered(self) -> Mapping[str, int]:
        """Facts that are not stored by choice, by venue."""

    @property
    def tail_bytes(self) -> Mapping[str, int]:
        """Bytes behind the known end of events, by venue."""

    @property
    def in_flight(self) -> int:
        """Facts told and not settled."""


class CommitCounts(Protocol):
    """How commits went since the process started; `retrying` says why one is tried again (None: none is)."""

    commits: int
    commit_rows: int
    commit_seconds: float
    retrying: str | None


class DropCount(Protocol):
    """Announcements that Redis could not take."""

    count: int


class HistoryCounts(Protocol):
    """What the filling of holes has counted; `open_holes` None: the database was not asked yet."""

    open_holes: int | None
    blocks: int
    transactions: int
    filled: int
    failed: int


class FeedCounts(Protocol):
    """What one feed has counted since the process started."""

    frames: int
    frame_bytes: int
    received: int
    repeats: int
    irrelevant: int
    malformed: int
    forwarded: int
    strays: int
    connects: int
    head_slot: int | None
    root_slot: int | None

    @property
    def losses(self) -> Mapping[str, int]:
        """Lost connections by reason."""


class RpcCounts(Protocol):
    """What requests to an HTTP endpoint have counted since the process started."""

    answer_bytes: int

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        """Requests by (method, outcome)."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time waited for answers, by method."""


class Queue(Protocol):
    """A channel as metrics see it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def capacity(self) -> int:
        """Most items it holds."""

    @property
    def dropped(self) -> int:
        """Items dropped since the process started."""

    def __len__(self) -> int: ...


_FEED_COUNTS: tuple[tuple[str, str, Callable[[FeedCounts], int]], ...] = (
    ("frames", "Websocket messages", lambda tally: tally.frames),
    ("frame_bytes", "Bytes of websocket messages", lambda tally: tally.frame_bytes),
    ("received", "Notices: repeats, irrelevant, malformed and forwarded ones", lambda tally: tally.received),
    ("repeats", "Notices that came before", lambda tally: tally.repeats),
    ("irrelevant", "Notices of no followed program", lambda tally: tally.irrelevant),
    ("malformed", "Notices that could not be read", lambda tally: tally.malformed),
    ("forwarded", "Notices that went on to decode", lambda tally: tally.forwarded),
    ("connects", "Connections made", lambda tally: tally.connects),
    ("strays", "Messages of no subscription", lambda tally: tally.strays),
)


class Meters(Collector):
    """Reads the parts of a daemon at each scrape."""

    def __init__(
        self, ledger: LedgerCounts, health: CommitCounts, drops: DropCount, now: Callable[[], float] = time.time
    ) -> None:
        """Read these counts (`now`: Unix seconds); the other methods add what only some runs have."""
        self._ledger = ledger
        self._health = health
        self._drops = drops
        self._now = now
        self._feeds: dict[str, FeedCounts] = {}
        self._rpc: RpcCounts | None = None
        self._waiting: Callable[[], int] | None = None
        self._channels: list[Queue] = []
        self._history: HistoryCounts | None = None

    def feed(self, name: str, tally: FeedCounts) -> None:
        """Read a feed's counts."""
        self._feeds[name] = tally

    def rpc(self, tally: RpcCounts, waiting: Callable[[], int]) -> None:
        """Read an RPC client's counts, and how many fetches wait."""
        self._rpc = tally
        self._waiting = waiting

    def history(self, tally: HistoryCounts) -> None:
        """Read the counts of the filling of holes."""
        self._history = tally

    def watch(self, *channels: Queue | None) -> None:
        """Read how full these channels are, and what they dropped."""
        self._channels += [channel for channel in channels if channel is not None]

    def collect(self) -> Iterable[Metric]:
        """Yield every metric as it is now."""
        yield from self._notices()
        yield from self._facts()
        yield from self._place()
        yield from self._commits()
        yield from self._queues()
        yield from self._of_feeds()
        if self._rpc is not None:
            yield from self._of_rpc(self._rpc)
        if self._history is not None:
            yield from self._of_history(self._history)

    def _notices(self) -> Iterator[Metric]:
        ledger = self._ledger
        outcomes = {"decoded": ledger.decoded, "failed_on_chain": ledger.failed, "irrelevant": ledger.irrelevant}
        yield _counter("notices_received", "Transactions that decode took", ledger.received)
        yield _counters("notices", "Transactions by what became of them", ("outcome",), _single(outcomes))
        in_flight = ledger.received - sum(outcomes.values())
        yield _gauge("notices_in_flight", "Transactions taken and not settled yet", in_flight)
        yield _counter("foreign_program_data", "`Program data:` lines of programs not followed", ledger.foreign)

    def _facts(self) -> Iterator[Metric]:
        ledger = self._ledger
        outcomes = {
            "stored": ledger.stored,
            "upgraded": ledger.upgraded,
            "duplicate": ledger.duplicates,
            "refused": ledger.refused,
            "other": ledger.other,
            "filtered": sum(ledger.filtered.values()),
        }
        yield _counters("events", "Facts decoded", ("venue", "fact"), ledger.events)
        yield _counters("facts", "Facts by what became of them", ("outcome",), _single(outcomes))
        yield _gauge("facts_in_flight", "Facts decoded and not settled yet", ledger.in_flight)
        yield _counters("filtered_facts", "Facts of pools that are not stored", ("venue",), _single(ledger.filtered))
        yield _counters(
            "tail_bytes", "Bytes after the last field that an IDL knows", ("venue",), _single(ledger.tail_bytes)
        )
        yield _counters(
            "faults", "What a followed program said and we could not store", ("venue", "reason"), ledger.faults
        )

    def _place(self) -> Iterator[Metric]:
        ledger = self._ledger
        yield _gauge("slot_head", "Newest slot that a feed told of", max(ledger.head_slot, ledger.newest_slot))
        yield _gauge("slot_newest_event", "Slot of the newest fact", ledger.newest_slot)
        roots = {(name,): tally.root_slot for name, tally in self._feeds.items() if tally.root_slot is not None}
        yield _gauges("slot_root", "Newest slot that a feed told to be rooted", ("feed",), roots)
        if ledger.newest_time:
            age_s = max(self._now() - ledger.newest_time, 0.0)
            yield _gauge("lag_seconds", "Age of the newest fact by its block time", age_s)

    def _commits(self) -> Iterator[Metric]:
        health = self._health
        yield _counter("commits", "Batches committed", health.commits)
        yield _counter("commit_rows", "Facts in committed batches", health.commit_rows)
        yield _counter("commit_seconds", "Time spent in commits", health.commit_seconds)
        yield _gauge("database_retrying", "1 while a commit is tried again", int(health.retrying is not None))

    def _queues(self) -> Iterator[Metric]:
        def each(read: Callable[[Queue], int]) -> dict[tuple[str], int]:
            return {(channel.name,): read(channel) for channel in self._channels}

        yield _gauges("channel_depth", "Items that wait in a channel", ("channel",), each(len))
        yield _gauges("channel_capacity", "Most items of a channel", ("channel",), each(lambda c: c.capacity))
        drops = {"redis": self._drops.count} | {c.name: c.dropped for c in self._channels if c.name == "live"}
        yield _counters("live_dropped", "Announcements that nobody got", ("branch",), _single(drops))

    def _of_feeds(self) -> Iterator[Metric]:
        for name, text, read in _FEED_COUNTS:
            counts = {(feed,): read(tally) for feed, tally in self._feeds.items()}
            yield _counters(f"feed_{name}", text, ("feed",), counts)
        losses = {(feed, why): count for feed, tally in self._feeds.items() for why, count in tally.losses.items()}
        yield _counters("feed_losses", "Connections lost", ("feed", "reason"), losses)

    def _of_rpc(self, tally: RpcCounts) -> Iterator[Metric]:
        yield _counters("rpc_requests", "RPC calls", ("method", "status"), tally.requests)
        yield _counters("rpc_seconds", "Time spent in RPC calls", ("method",), _single(tally.seconds))
        yield _counter("rpc_answer_bytes", "Bytes of RPC answers", tally.answer_bytes)
        if self._waiting is not None:
            yield _gauge("pending_fetches", "Transactions and accounts that are looked for", self._waiting())

    def _of_history(self, tally: HistoryCounts) -> Iterator[Metric]:
        if tally.open_holes is not None:
            yield _gauge("open_holes", "Ranges and transactions known to be missing", tally.open_holes)
        yield _counter("history_blocks", "Blocks fetched to fill holes", tally.blocks)
        yield _counter("history_transactions", "Transactions that history brought", tally.transactions)
        tries = {"filled": tally.filled, "failed": tally.failed}
        yield _counters("history_tries", "Tries to fill a hole", ("outcome",), _single(tries))


def _single(values: Mapping[str, float]) -> dict[tuple[str], float]:
    return {(label,): value for label, value in values.items()}


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _gauges(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family
