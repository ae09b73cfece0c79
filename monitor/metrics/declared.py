"""
Every metric of the daemon: its name, unit, meaning and labels.

No mint and no wallet is a label, nor any other text that others make up: a series costs memory for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from monitor.metrics.histogram import Histogram

PREFIX = "launch_monitor_"


@dataclass(frozen=True, slots=True)
class _Declared:
    """What every kind of metric says of itself."""

    suffixes: ClassVar[tuple[str, ...]] = ("",)
    name: str
    text: str
    labels: tuple[str, ...] = ()

    def series(self) -> list[str]:
        """Return the names that its series have on the page."""
        return [f"{PREFIX}{self.name}{suffix}" for suffix in self.suffixes]


@dataclass(frozen=True, slots=True)
class Gauge(_Declared):
    """A value that goes up and down."""

    def one(self, value: float) -> Metric:
        """Return it with its only value."""
        return GaugeMetricFamily(PREFIX + self.name, self.text, value=value)

    def by(self, values: Mapping[tuple[str, ...], float]) -> Metric:
        """Return it with its values by labels."""
        family = GaugeMetricFamily(PREFIX + self.name, self.text, labels=self.labels)
        for key, value in sorted(values.items()):
            family.add_metric(key, value)
        return family


@dataclass(frozen=True, slots=True)
class Counter(_Declared):
    """A value that rises for as long as the process lives."""

    suffixes: ClassVar[tuple[str, ...]] = ("_total",)

    def one(self, value: float) -> Metric:
        """Return it with its only value."""
        return CounterMetricFamily(PREFIX + self.name, self.text, value=value)

    def by(self, values: Mapping[tuple[str, ...], float]) -> Metric:
        """Return it with its values by labels."""
        family = CounterMetricFamily(PREFIX + self.name, self.text, labels=self.labels)
        for key, value in sorted(values.items()):
            family.add_metric(key, value)
        return family


@dataclass(frozen=True, slots=True)
class Distribution(_Declared):
    """How often values of which size came."""

    suffixes: ClassVar[tuple[str, ...]] = ("_bucket", "_count", "_sum")

    def by(self, values: Mapping[tuple[str, ...], Histogram]) -> Metric:
        """Return it with its histograms by labels."""
        family = HistogramMetricFamily(PREFIX + self.name, self.text, labels=self.labels)
        for key, value in sorted(values.items(), key=lambda item: item[0]):
            family.add_metric(key, list(value.buckets()), value.total)
        return family


BUILD = Gauge("build_info", "1; what is running stands in the labels", ("version", "python"))
STARTED = Gauge("start_time_seconds", "When the process began, in Unix time")
TASKS = Gauge("asyncio_tasks", "Tasks of the event loop: a number that rises without end is a leak")
STANDBY = Gauge("standby", "1 while another daemon writes, and this one stands by")
CHECK = Gauge("check", "1 where a check of /readyz is content, else 0", ("check",))
ALIVE = Gauge("alive", "1 while the pipeline moves, as /livez and the watchdog judge it")
READY = Gauge("ready", "1 while every check of /readyz is content")

NOTICES_RECEIVED = Counter("notices_received", "Transactions that came", ("feed", "program"))
NOTICES = Counter("notices", "Transactions by what became of them", ("feed", "program", "outcome"))
NOTICES_IN_FLIGHT = Gauge("notices_in_flight", "Transactions in journal, queues and decode", ("feed", "program"))
EVENTS_DECODED = Counter("events_decoded", "Events decoded", ("program",))
EVENTS_SETTLED = Counter("events_settled", "Events by what became of them", ("program", "outcome"))
EVENTS_IN_FLIGHT = Gauge("events_in_flight", "Events in queues and in the batch that is being committed", ("program",))
DIFFERENCE = Gauge("ledger_difference", "What came, less what became of it and what is in flight", ("ledger",))
EVENTS = Counter("events", "Events decoded, by what they say", ("program", "fact"))
FAULTS = Counter("faults", "What a followed program said and we could not store", ("program", "reason"))
UNKNOWN = Counter("unknown_discriminators", "Events of no layout that the program's IDL knows", ("program",))
TAIL_BYTES = Counter("tail_bytes", "Bytes after the last field that an IDL knows", ("program",))
FOREIGN = Counter("foreign_program_data", "`Program data:` lines of programs that are not followed")

LAG = Gauge("lag_seconds", "Age of the newest fact by its block time")
SLOT_NEWEST = Gauge("slot_newest_event", "Slot of the newest fact")
SLOT_HEAD = Gauge("slot_head", "Newest slot that a feed told of", ("feed",))
SLOT_ROOT = Gauge("slot_root", "Newest slot that a feed told to be rooted", ("feed",))
SLOT_PROGRESS = Gauge("slot_progress", "Slot up to which everything is committed", ("feed",))
SLOT_FINAL = Gauge("slot_final", "Slot up to which rows were compared with the finalized chain")

FINALITY_ROWS = Counter("finality_rows", "Transactions of rows that were compared with the finalized chain")
FINALITY_DOUBTS = Counter("finality_doubts", "Slots that were not as stored, and are fetched again")
FINALITY_FAILURES = Counter("finality_failures", "Tries to compare that failed")

HOLES_OPEN = Gauge("holes_open", "Ranges and transactions that are missing and will be fetched", ("reason",))
HOLES_SLOTS = Gauge("holes_open_slots", "Slots of open holes that are still missing", ("reason",))
HOLES_LEFT = Gauge("holes_left", "Ranges that were left out on purpose", ("reason",))
HOLES_LEFT_SLOTS = Gauge("holes_left_slots", "Slots that were left out on purpose", ("reason",))
HOLES_OLDEST = Gauge("holes_oldest_age_seconds", "Since when the oldest open hole is known")
HOLES_FOUND = Counter("holes_found", "Holes recorded", ("reason",))
HOLES_FILLED = Counter("holes_filled", "Holes filled", ("by",))
HISTORY_BLOCKS = Counter("history_blocks", "Blocks fetched to fill holes")
HISTORY_TRANSACTIONS = Counter("history_transactions", "Transactions that history brought")
HISTORY_TRIES = Counter("history_tries", "Tries to fill a hole", ("outcome",))
PENDING = Gauge("pending_fetches", "Transactions and accounts that are looked for")

VOIDED = Counter("voided_rows", "Rows that vanished with a fork", ("program",))
REVIVED = Counter("revived_rows", "Voided rows that came back", ("program",))
REDECODED = Counter("redecoded", "Faults and tails that were decoded again", ("by",))

FEED_FRAMES = Counter("feed_frames", "Messages of a feed", ("feed",))
FEED_BYTES = Counter("feed_bytes", "Bytes of a feed's messages", ("feed",))
FEED_RECEIVED = Counter("feed_received", "Notices: repeats, irrelevant, malformed and forwarded ones", ("feed",))
FEED_REPEATS = Counter("feed_repeats", "Notices that came before by the same feed", ("feed",))
FEED_IRRELEVANT = Counter("feed_irrelevant", "Notices of no followed program", ("feed",))
FEED_MALFORMED = Counter("feed_malformed", "Notices that could not be read", ("feed",))
FEED_FORWARDED = Counter("feed_forwarded", "Notices that went on to decode", ("feed",))
FEED_CONNECTS = Counter("feed_connects", "Connections made", ("feed",))
FEED_STRAYS = Counter("feed_strays", "Messages of no subscription", ("feed",))
FEED_UP = Gauge("feed_up", "1 while a feed is connected, and tells all that it is asked for", ("feed",))
FEED_BEHIND_SLOTS = Gauge(
    "feed_behind_slots", "How far a feed that asks for its blocks lies behind its node", ("feed",)
)
FEED_LOSSES = Counter("feed_losses", "Connections lost", ("feed", "reason"))
FEED_MISSES = Counter("feed_misses", "Transactions that another feed told and this one did not", ("feed",))
FEED_FIRST = Counter("feed_first", "Transactions that this feed told before all others", ("feed",))
FEED_BEHIND = Distribution("feed_behind_seconds", "By how much a feed was later than the first", ("feed",))

JOURNAL_BYTES = Gauge("journal_bytes", "What the journal takes on disk")
JOURNAL_LIMIT = Gauge("journal_limit_bytes", "What the journal may take on disk")
JOURNAL_NEWEST = Gauge("journal_newest_seq", "Number of the newest record")
JOURNAL_DONE = Gauge("journal_done_seq", "Number up to which records are committed")
JOURNAL_FULL = Gauge("journal_full", "1 while the journal takes no more, so that feeds are not read")
JOURNAL_FSYNC = Distribution("journal_fsync_seconds", "Time that a flush to disk took")
DISK_FREE = Gauge("disk_free_bytes", "Room on the disk of what the daemon writes", ("of",))
DISK_SIZE = Gauge("disk_size_bytes", "Size of the disk of what the daemon writes", ("of",))

CHANNEL_DEPTH = Gauge("channel_depth", "Items that wait in a channel", ("channel",))
CHANNEL_CAPACITY = Gauge("channel_capacity", "Most items of a channel", ("channel",))
DROPPED = Counter("live_dropped", "Announcements that nobody got", ("branch",))

BATCH_ROWS = Distribution("batch_rows", "Facts in a committed batch")
BATCH_SECONDS = Distribution("batch_seconds", "Time that a commit took, tries that failed included")
RETRIES = Counter("commit_retries", "Tries to commit that failed")
RETRYING = Gauge("database_retrying", "1 while a commit is tried again")

CANDLE_MARKS = Gauge("candle_marks", "Ranges of candles that have yet to be made again")
CANDLE_MARKS_AGE = Gauge("candle_marks_oldest_age_seconds", "Since when the oldest of them waits; 0: there is none")
TRADES_FROM = Gauge("trades_from_seconds", "Unix time of the trade horizon: what is older is no row any more")
PIECES = Gauge("trade_pieces", "Partitions or chunks of trades")
PIECES_DROPPED = Counter("trade_pieces_dropped", "Partitions or chunks of trades that were dropped for their age")
UPKEEP_FAILURES = Counter("upkeep_failures", "Rounds of upkeep of the database that failed", ("of",))

RPC_REQUESTS = Counter("rpc_requests", "RPC calls", ("endpoint", "method", "status"))
RPC_SECONDS = Counter("rpc_seconds", "Time spent in RPC calls", ("endpoint", "method"))
RPC_BYTES = Counter("rpc_answer_bytes", "Bytes of RPC answers", ("endpoint",))


def declared() -> Iterator[_Declared]:
    """Yield every metric above."""
    for value in globals().values():
        if isinstance(value, _Declared):
            yield value


def series_names() -> set[str]:
    """Return every name that a series on the page may have."""
    return {name for metric in declared() for name in metric.series()}
