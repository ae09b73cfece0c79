"""
Candles that are kept, made anew where trades came late, and made at all once trades are old enough.

Up to its watermark (`candle_levels`) a level's candles are kept: by TimescaleDB, or in tables that are filled here.
What is later is made of the trades by whoever asks. The writer marks (`stale_candles`) each trade that comes or changes
more than `LATE_S` before the newest trade that was committed; no watermark is less than `SETTLED_S` before that one. So
a trade that is not marked is above every watermark: there is one writer, it commits batches in order and remembers, so
what it takes for the newest as it begins a batch is at least as new as what any watermark is put by until that commit.

All times are the chain's. The local clock would call everything of a lagging feed, and of a replay, old.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from monitor.store.trouble import translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import asyncpg

    from monitor.store.edition import Edition

LATE_S = 60
SETTLED_S = 120

LEVELS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}
"""Width by name, each level before those that are made of it."""

_DAY = timedelta(days=1)
_STEP = timedelta(hours=1)
"""What is made in one transaction at most, if the level is not wider: so none is long, whatever there is to be done."""
_LONGEST_STEP = _DAY
_QUICK_S = 0.5
"""After a step that took no longer the next may be twice as long: months of few trades are not made by the hour."""
_APART = timedelta(minutes=5)
"""Marked times of a batch that are less apart are one range."""
_EPOCH = datetime(2000, 1, 3, tzinfo=UTC)
"""Where buckets are counted from (TimescaleDB's default)."""

_MARKED = "SELECT id, first_time, last_time FROM stale_candles"
_HORIZON = "SELECT trades_from FROM lifecycle"
_WATERMARKS = "SELECT level, NULLIF(through, '-infinity') FROM candle_levels"
_MOVE = "UPDATE candle_levels SET through = $2 WHERE level = $1"
_UNMARK = "DELETE FROM stale_candles WHERE id = ANY($1)"
_NEXT_TRADE = "SELECT min(block_time) FROM transactions WHERE block_time >= $1"
_OLDEST_TRADE = "SELECT min(block_time) FROM transactions"
_KEEP = "SELECT keep_candles($1, $2, $3)"
# Only what was logged as changed inside of the range is made anew; the rest of the range costs nothing.
_REFRESH = "CALL refresh_continuous_aggregate($1::text::regclass, $2::timestamptz, $3::timestamptz)"
_MARK = "INSERT INTO stale_candles (first_time, last_time) SELECT * FROM unnest($1::timestamptz[], $2::timestamptz[])"
_IS_SETTLED = """
SELECT NOT EXISTS (SELECT FROM stale_candles WHERE first_time < $1)
   AND NOT EXISTS (SELECT FROM candle_levels WHERE through < $1)
"""
_WAITING = """
SELECT count(*) AS marks, COALESCE(extract(epoch FROM clock_timestamp() - min(marked_at))::float8, 0) AS oldest_s
  FROM stale_candles
"""

Range = tuple[datetime, datetime]
"""From the first time up to, and not including, the second."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """
    What a refresh did.

    Args:
        marks: How many marks were served.
        remade: How many ranges of a level were made anew for them.
        added: How many ranges of a level were made for the first time.
    """

    marks: int = 0
    remade: int = 0
    added: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many marks there are, and the age of the oldest (s)."""

    marks: int
    oldest_s: float


class Candles:
    """Keeps candles of a database of that edition. Only the writer's process does so, one call at a time."""

    def __init__(self, edition: Edition) -> None:
        self._edition = edition

    async def refresh(self, connection: asyncpg.Connection, newest: datetime | None) -> Refreshed:
        """
        Make anew what is marked, and make what got old enough; repeat it after an error.

        Candles of days before the trade horizon are left as they are: the trades that they were made of are gone, or
        about to be. It may run beside whoever moves the horizon and drops trades, as that one asks `is_settled` first:
        marks are deleted last of all, and watermarks move last, so what is under way here is not settled.

        Args:
            connection: Without a transaction; what is made takes as long as it takes, so it wants a long timeout.
            newest: Time of the newest trade that is committed; None: there is none.

        Raises:
            StoreUnavailable: If the database does not answer.
        """
        with translated():
            # Read before anything is made: what is marked from now on has another id, and stays.
            marks = await connection.fetch(_MARKED)
            marked = [(row["first_time"], row["last_time"]) for row in marks]
            trades_from = await connection.fetchval(_HORIZON)
            horizon = None if trades_from is None else _floor(trades_from, _DAY)
            watermarks = dict(await connection.fetch(_WATERMARKS))
            remade = added = 0
            for level, width in LEVELS.items():
                for since, until in pieces(marked, width, horizon, watermarks[level]):
                    await self._make(connection, level, since, until)
                    remade += 1
                if newest is not None:
                    target = _floor(newest - timedelta(seconds=SETTLED_S), width)
                    added += await self._go_on(connection, level, watermarks[level], target, horizon)
            if marks:
                await connection.execute(_UNMARK, [row["id"] for row in marks])
            return Refreshed(len(marks), remade, added)

    async def is_settled(self, connection: asyncpg.Connection, before: datetime) -> bool:
        """
        Tell whether all candles of trades before that time are kept and right, so that the trades may go.

        Raises:
            StoreUnavailable: If the database does not answer.
        """
        with translated():
            settled: bool = await connection.fetchval(_IS_SETTLED, before)
            return settled

    async def waiting(self, connection: asyncpg.Connection) -> Waiting:
        """
        Return what a refresh would have to make anew.

        Raises:
            StoreUnavailable: If the database does not answer.
        """
        with translated():
            return Waiting(**dict(await connection.fetchrow(_WAITING)))

    async def _go_on(
        self,
        connection: asyncpg.Connection,
        level: str,
        through: datetime | None,
        target: datetime,
        horizon: datetime | None,
    ) -> int:
        """Bring a watermark (None: there is none yet) up to `target`, oldest trades first; return the steps taken."""
        width, steps = LEVELS[level], 0
        step = max(_STEP, width)
        if horizon is not None and (through is None or through < horizon):
            through = horizon
        while through is None or through < target:
            at = await _next_trade(connection, through)
            if at is None or at >= target:
                await connection.execute(_MOVE, level, target)
                break
            since = _floor(at, width)
            until = min(target, since + step)
            began = time.monotonic()
            await self._make(connection, level, since, until, moves=True)
            is_quick = time.monotonic() - began < _QUICK_S
            step = min(step * 2, _LONGEST_STEP) if is_quick else max(_STEP, width)
            through, steps = until, steps + 1
        return steps

    async def _make(
        self, connection: asyncpg.Connection, level: str, since: datetime, until: datetime, *, moves: bool = False
    ) -> None:
        if self._edition == "timescale":
            # It commits by itself. Cut short before the watermark moves, it is called again, and finds nothing to do.
            await connection.execute(_REFRESH, f"candles_{level}", since, until)
            if moves:
                await connection.execute(_MOVE, level, until)
            return
        async with connection.transaction():
            await connection.execute(_KEEP, level, since, until)
            if moves:
                await connection.execute(_MOVE, level, until)


async def mark(connection: asyncpg.Connection, times: Iterable[datetime], newest: datetime | None) -> None:
    """
    Mark those of the times of trades that are late; without any it asks nothing of the database.

    Args:
        connection: With the transaction open in which the trades are written.
        times: Of trades that came, changed, vanished or came back.
        newest: Time of the newest trade that was committed before; None: none was.
    """
    if newest is None:
        return
    limit = newest - timedelta(seconds=LATE_S)
    late = [at for at in times if at < limit]
    if late:
        await connection.execute(_MARK, *zip(*spans(late), strict=True))


def spans(times: Iterable[datetime]) -> list[Range]:
    """Return first and last time of each group of times that are close to each other."""
    found: list[Range] = []
    for at in sorted(times):
        if found and at - found[-1][1] < _APART:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found


def pieces(
    marked: Sequence[Range], width: timedelta, horizon: datetime | None, through: datetime | None
) -> Iterator[Range]:
    """
    Yield ranges of whole buckets, none longer than a step, that hold everything that is marked and kept.

    Args:
        marked: First and last times.
        width: Of a bucket.
        horizon: Where a day begins before which there is nothing to make candles of; None: there is.
        through: The level's watermark: what is later is not kept; None: nothing is.
    """
    if through is None:
        return
    done = horizon
    for first, last in sorted(marked):
        since, until = _floor(first, width), min(_floor(last, width) + width, through)
        if done is not None:
            since = max(since, done)
        while since < until:
            end = min(since + max(_STEP, width), until)
            yield since, end
            since = done = end


async def _next_trade(connection: asyncpg.Connection, since: datetime | None) -> datetime | None:
    at: datetime | None = await (
        connection.fetchval(_OLDEST_TRADE) if since is None else connection.fetchval(_NEXT_TRADE, since)
    )
    return at


def _floor(at: datetime, width: timedelta) -> datetime:
    return _EPOCH + (at - _EPOCH) // width * width
