"""A daemon as its metrics see it: every part present, every count another number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from monitor.channel import Channel
from monitor.health import Health, OpenHoles
from monitor.metrics import Histogram, Meters
from monitor.pipeline.announce import Drops
from monitor.sources.tally import FeedTally, FinalityTally, HistoryTally, RpcTally
from monitor.store.batch import SKIPPED_BY_START, Batch, Done, Filled, Final, Hole, Progress, Resolved, Written
from tests.pipeline.facts import trade

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_010.0
SEEN_AT = datetime.fromtimestamp(NOW - 500, UTC)
PUMPFUN = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"


@dataclass
class Flow:
    """What decode and write have counted."""

    told_count: int = 0
    in_flight: int = 0
    stored: int = 0
    foreign: int = 0
    head_slot: int = 0
    newest_slot: int = 0
    newest_time: int = 0
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    tail_bytes: Counter[str] = field(default_factory=Counter)


@dataclass
class Books:
    """One side of the ledger."""

    came: Counter[tuple[str, ...]] = field(default_factory=Counter)
    went: Counter[tuple[str, ...]] = field(default_factory=Counter)
    in_flight: Counter[tuple[str, ...]] = field(default_factory=Counter)


@dataclass
class Row:
    """An open hole."""

    reason: str
    first_slot: int
    last_slot: int
    id: int = 1
    filled_through: int | None = None
    signature: str | None = None
    seen_at: datetime = SEEN_AT


@dataclass
class Race:
    """How one feed does against others."""

    first: int
    missed: int
    behind: list[int]
    behind_s: float


@dataclass
class Disk:
    """A journal."""

    id: str = "j1"
    newest_seq: int = 90
    stored_bytes: int = 4_096
    is_full: bool = False


@dataclass
class Kept:
    """How the database is kept in shape."""

    failures: Counter[str] = field(default_factory=lambda: Counter({"candles": 61, "lifecycle": 0}))
    marks: int = 62
    oldest_mark_age_s: float = 6.5
    pieces: int = 63
    dropped_pieces: int = 64
    trades_from: float | None = NOW - 86_400


def idle() -> tuple[Meters, Flow, Health]:
    """Return meters of a daemon that has nothing to tell."""
    flow = Flow()
    health = Health(flow)
    return Meters(flow, health, Drops(), now=lambda: NOW), flow, health


def busy(folder: Path) -> tuple[Meters, Flow, Health]:
    """Return meters to which every part was handed over, with counts; `folder` lies on the disk that is told of."""
    meters, flow, health = idle()
    meters.programs({PUMPFUN: "pumpfun", "other": "pumpswap"})
    _count(flow)
    _commit(health)
    meters.account("notices", notices())
    meters.account("events", events())
    feed = FeedTally(
        frames=1, frame_bytes=2, received=10, repeats=3, irrelevant=4, malformed=1, forwarded=2, connects=5, root_slot=8
    )
    feed.head_slot, feed.behind_slots = 9, 7
    feed.losses["silent"] = 6
    meters.feed("logs", feed)
    meters.feed("refused", FeedTally())
    meters.up({"logs"})
    meters.race({"logs": Race(first=30, missed=4, behind=[1, 2, 3], behind_s=1.5)}, (0.1, 0.5))
    meters.rpc(rpc(), lambda: 21, endpoint="first")
    meters.history(HistoryTally(blocks=31, transactions=32, filled=33, failed=34))
    meters.finality(FinalityTally(compared=51, doubted=52, failed=53))
    meters.holes(holes())
    meters.upkeep(Kept())
    fsync = Histogram((0.1, 1.0))
    fsync.observe(0.5)
    meters.journal(Disk(), 8_192, fsync)
    meters.disk("journal", folder)
    live: Channel[int] = Channel(1, "live")
    live.offer(1)
    live.offer(2)
    meters.watch(live, None)
    return meters, flow, health


def _count(flow: Flow) -> None:
    flow.foreign, flow.newest_slot, flow.newest_time = 3, 7, int(NOW) - 10
    flow.events["pumpfun", "launch"] = 11
    flow.faults["pumpfun", "unknown_discriminator"] = 2
    flow.faults["pumpfun", "TradeEvent: 5 bytes of 8 at 0x2f"] = 1
    flow.faults["pumpfun", "TradeEvent: 6 bytes of 8 at 0x2f"] = 3
    flow.tail_bytes["pumpswap"] = 40


def _commit(health: Health) -> None:
    batch = Batch(
        facts=[trade(nth=number) for number in range(7)],
        progress=[Progress(feed="logs", slot=5)],
        holes=[Hole(first_slot=1, last_slot=2, reason="reconnect")],
        filled=[Filled(by="history", hole_id=1)],
        resolved=[Resolved(by="redecode", fault_id=1)],
        final=Final(through=3),
        done=Done(journal_id="j1", seq=80),
    )
    written = Written(1, new=[*batch.facts], voided=[trade()], revived=[trade(), trade(nth=1)])
    health.trouble("commit: away")
    health.committed(batch, written, 0.25)


def rpc() -> RpcTally:
    """Return counts of calls."""
    tally = RpcTally(answer_bytes=77)
    tally.requests["getTransaction", "ok"] = 12
    tally.seconds["getTransaction"] = 1.5
    return tally


def notices() -> Books:
    """Return books of transactions that balance."""
    logs, blocks = ("logs", PUMPFUN), ("blocks", "*")
    return Books(
        Counter({logs: 100, blocks: 50}),
        Counter({(*logs, "decoded"): 60, (*logs, "irrelevant"): 35, (*blocks, "decoded"): 50}),
        Counter({logs: 5}),
    )


def events() -> Books:
    """Return books of events that balance."""
    return Books(Counter({("pumpfun",): 9}), Counter({("pumpfun", "stored"): 7}), Counter({("pumpfun",): 2}))


def holes() -> OpenHoles:
    """Return what the database knows to be missing."""
    found = OpenHoles()
    found.noticed([])
    found.noticed([Row("reconnect", 1, 2)])
    found.saw([Row("reconnect", 10, 19, filled_through=12), Row(SKIPPED_BY_START, 1, 5)], NOW)
    return found
