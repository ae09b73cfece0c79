"""What metrics need of the parts that count; `app` hands over what fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.metrics.checks import Check
    from monitor.metrics.histogram import Histogram


class Account(Protocol):
    """
    One of the ledgers: what came in, what became of it, and what is under way, each by key.

    The key of feeds is (feed,), that of notices (feed, program), that of events (program,). `in_flight` is counted
    where things are (queues, journal, the batch in hand), never as the difference of the others: so a leak shows.
    """

    @property
    def came(self) -> Mapping[tuple[str, ...], int]:
        """What came in since the process started, by key."""

    @property
    def went(self) -> Mapping[tuple[str, ...], int]:
        """What became of it, by key and outcome (its last member)."""

    @property
    def in_flight(self) -> Mapping[tuple[str, ...], int]:
        """What is under way now, by key."""


class LedgerCounts(Protocol):
    """What decode has counted besides, since the process started."""

    foreign: int
    newest_slot: int
    newest_time: int

    @property
    def events(self) -> Mapping[tuple[str, str], int]:
        """Facts by (program, kind)."""

    @property
    def faults(self) -> Mapping[tuple[str, str], int]:
        """Faults by (program, reason)."""

    @property
    def tail_bytes(self) -> Mapping[str, int]:
        """Bytes behind the known end of events, by program."""


class CommitCounts(Protocol):
    """How commits went since the process started; what is None nobody knows yet."""

    batch_rows: Histogram
    batch_seconds: Histogram
    retries: int
    retrying: str | None
    is_standby: bool
    final_through: int | None

    @property
    def progress(self) -> Mapping[str, int]:
        """Slot up to which everything is committed, by feed."""

    @property
    def done_seq(self) -> Mapping[str, int]:
        """Number up to which a journal is committed, by the journal's id."""

    @property
    def holes_filled(self) -> Mapping[str, int]:
        """Holes filled, by what filled them."""

    @property
    def voided(self) -> Mapping[str, int]:
        """Rows that vanished with a fork, by program."""

    @property
    def revived(self) -> Mapping[str, int]:
        """Rows that came back, by program."""

    @property
    def redecoded(self) -> Mapping[str, int]:
        """Faults and tails decoded again, by how they were resolved."""


class Health(Protocol):
    """Who knows how the daemon is, and how its commits go."""

    @property
    def commits(self) -> CommitCounts:
        """How they go."""

    def liveness(self) -> Sequence[Check]:
        """Return whether each part moves: one that does not will be mended by a restart alone."""

    def readiness(self) -> Sequence[Check]:
        """Return whether what it does is current: what is not may mend itself."""


class DropCount(Protocol):
    """Announcements that Redis could not take."""

    count: int


class HistoryCounts(Protocol):
    """What the filling of holes has counted."""

    blocks: int
    transactions: int
    filled: int
    failed: int


class FinalityCounts(Protocol):
    """What the comparison with the finalized chain has counted."""

    compared: int
    doubted: int
    failed: int


class HoleCounts(Protocol):
    """Open holes as the database had them at the last look; `looked_at` None: it was not asked yet."""

    looked_at: float | None
    """Unix seconds."""
    oldest_at: float | None
    """When the oldest of those that are to be filled was seen, Unix seconds; None: there is none."""

    @property
    def found(self) -> Mapping[tuple[str, ...], int]:
        """Holes recorded since the process started, by reason."""

    @property
    def open(self) -> Mapping[tuple[str, ...], int]:
        """Holes to be filled, by reason."""

    @property
    def slots(self) -> Mapping[tuple[str, ...], int]:
        """Slots that they miss, by reason."""

    @property
    def left(self) -> Mapping[tuple[str, ...], int]:
        """Holes that were left on purpose, by reason."""

    @property
    def left_slots(self) -> Mapping[tuple[str, ...], int]:
        """Slots that they miss, by reason."""


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
    behind_slots: int
    head_slot: int | None
    root_slot: int | None

    @property
    def losses(self) -> Mapping[str, int]:
        """Lost connections by reason."""


class RaceCounts(Protocol):
    """How a feed does against others that tell the same."""

    first: int
    """Transactions that it told before all others."""
    missed: int
    """Transactions that others told and it did not."""
    behind: list[int]
    """How often it was later than the first by up to each bound, and at the end by more than all."""
    behind_s: float
    """By how many seconds in sum."""


class RpcCounts(Protocol):
    """What requests to an HTTP endpoint have counted since the process started."""

    answer_bytes: int

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        """Requests by (method, outcome)."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time waited for answers, by method."""


class UpkeepCounts(Protocol):
    """What keeps the database in shape."""

    marks: int
    """Ranges of candles that have yet to be made again."""
    oldest_mark_age_s: float
    """Since when the oldest of them waits; 0: there is none."""
    pieces: int
    """Partitions or chunks of trades."""
    dropped_pieces: int
    """Those that were dropped since the process started."""
    trades_from: float | None
    """Unix time of the trade horizon; None: there is none."""

    @property
    def failures(self) -> Mapping[str, int]:
        """Rounds that failed, by what they were of."""


class JournalCounts(Protocol):
    """A journal as metrics see it."""

    @property
    def id(self) -> str:
        """Its name, made once per folder."""

    @property
    def newest_seq(self) -> int:
        """Number of the newest record."""

    @property
    def stored_bytes(self) -> int:
        """What it takes on disk."""

    @property
    def is_full(self) -> bool:
        """Whether it takes no more now."""


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


def difference(account: Account) -> int:
    """
    Return by how much an account does not add up: 0, unless something was lost or counted twice.

    Keys are compared one by one, so that a loss in one is not made up for by a surplus in another.
    """
    off = dict(account.came)
    for key, count in account.went.items():
        off[key[:-1]] = off.get(key[:-1], 0) - count
    for key, count in account.in_flight.items():
        off[key] = off.get(key, 0) - count
    return sum(map(abs, off.values()))
