"""How long rows stay: the trade horizon, the pieces behind it, and what TimescaleDB compresses by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from monitor.store.partitions import DAY, Piece, partitions

if TYPE_CHECKING:
    import asyncpg

    from monitor.store.edition import Edition

_HOUR = timedelta(hours=1)
_EPOCH = datetime.fromtimestamp(0, UTC)

NEWEST = "SELECT block_time, LEAST(block_time, now()) FROM transactions ORDER BY block_time DESC LIMIT 1"
TRADES_FROM = "SELECT trades_from FROM lifecycle"
MOVE_TRADES_FROM = """
UPDATE lifecycle SET trades_from = $1, updated_at = now() WHERE trades_from IS NULL OR trades_from < $1
"""
_MARKS = "SELECT count(*), min(marked_at), now() FROM stale_candles"

_CHUNKS = """
SELECT range_start, range_end, chunk_name FROM timescaledb_information.chunks
 WHERE hypertable_schema = current_schema() AND hypertable_name = 'transactions' ORDER BY range_start
"""
_DROP_CHUNKS = "SELECT drop_chunks('transactions', older_than => $1::timestamptz, newer_than => $2::timestamptz)"

_DROPPING = "SELECT dropping FROM lifecycle"
_SET_DROPPING = "UPDATE lifecycle SET dropping = $1"
# NULL: it is no partition (any more). Whose detaching was cut short has to be detached to the end.
_IS_DETACHING = """
SELECT inhdetachpending FROM pg_inherits
 WHERE inhparent = 'transactions'::regclass AND inhrelid = to_regclass($1)
"""

_KEPT_CANDLES = """
SELECT relname FROM pg_class
 WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname ~ '^candles_kept_' ORDER BY relname
"""
_AGGREGATES = """
SELECT view_name FROM timescaledb_information.continuous_aggregates
 WHERE view_schema = current_schema() ORDER BY view_name
"""

_CHUNK_INTERVAL = """
SELECT time_interval FROM timescaledb_information.dimensions
 WHERE hypertable_schema = current_schema() AND hypertable_name = 'transactions'
"""
_SET_CHUNK_INTERVAL = "SELECT set_chunk_time_interval('transactions', $1::interval)"
# The job of an aggregate goes by its view's name, or in older versions by that of what it is stored in.
_COMPRESS_AFTER = """
SELECT (config ->> 'compress_after')::interval FROM timescaledb_information.jobs
 WHERE proc_name IN ('policy_compression', 'policy_columnstore')
   AND (hypertable_schema, hypertable_name) IN (($1, $2), (current_schema(), $3))
"""
_MATERIALIZATION = """
SELECT materialization_hypertable_schema, materialization_hypertable_name
  FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema() AND view_name = $1
"""
_IS_COLUMNSTORE = """
SELECT compression_enabled FROM timescaledb_information.hypertables
 WHERE hypertable_schema = $1 AND hypertable_name = $2
"""
# Without segments late rows are taken in at a thousand times the rate that they are with one for each token
# (docs/BENCHMARKS.md). What rows are ordered by has its least and greatest value beside each thousand of them: that is
# how a slot is found.
_ENABLE_TRADES = """
ALTER TABLE transactions SET (
    timescaledb.enable_columnstore = TRUE, timescaledb.segmentby = '',
    timescaledb.orderby = 'block_time DESC, slot DESC'
)
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """
    How long what stays, in the time of the chain; None: for ever, or never.

    A day is a multiple of `chunk_interval`, or it one of a day.
    """

    chunk_interval: timedelta = DAY
    compress_trades_after: timedelta | None = timedelta(days=7)
    compress_candles_after: timedelta | None = None
    retain_trades: timedelta | None = timedelta(days=90)
    retain_candles: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Newest:
    """
    The newest block time of a trade that is stored.

    `past` is that or the server's clock, whichever is earlier: what is dropped cannot be had back, so a block time
    from far ahead must not decide it. A clock that is wrong only holds it up.
    """

    at: datetime
    past: datetime


@dataclass(frozen=True, slots=True)
class Marks:
    """Ranges of candles that have yet to be made again; `oldest_age_s` is 0 where there is none."""

    count: int
    oldest_age_s: float


async def newest(connection: asyncpg.Connection) -> Newest | None:
    """Return the newest block time, or None if there is no trade."""
    row = await connection.fetchrow(NEWEST)
    return None if row is None else Newest(*row)


async def trades_from(connection: asyncpg.Connection) -> datetime | None:
    """Return the time before which no trade is taken any more; None: all are."""
    at: datetime | None = await connection.fetchval(TRADES_FROM)
    return at


async def marks(connection: asyncpg.Connection) -> Marks:
    """Return what is marked as stale."""
    count, oldest_at, now = await connection.fetchrow(_MARKS)
    return Marks(count, 0.0 if oldest_at is None else max((now - oldest_at).total_seconds(), 0.0))


def horizon(past: datetime, rules: Rules) -> datetime | None:
    """
    Return the time before which no trade is to be taken any more; None: all are.

    It lies one piece behind what is dropped: by the time that a piece goes, nothing comes for it any more.
    """
    if rules.retain_trades is None:
        return None
    return floor(past - (rules.retain_trades - rules.chunk_interval), _HOUR)


def droppable_before(past: datetime, trades_from: datetime, rules: Rules) -> datetime | None:
    """
    Return the time at or before which a piece has to end to be dropped; None: none is.

    A whole day before the horizon at least: no candle is longer, so each that may change has all of its trades.
    """
    if rules.retain_trades is None:
        return None
    return min(floor(trades_from, DAY), past - rules.retain_trades)


async def pieces(connection: asyncpg.Connection, edition: Edition) -> list[Piece]:
    """Return the pieces of `transactions`, by time."""
    if edition == "plain":
        return await partitions(connection)
    return [Piece(*row) for row in await connection.fetch(_CHUNKS)]


async def drop(connection: asyncpg.Connection, edition: Edition, piece: Piece) -> bool:
    """
    Drop a piece with its rows, and tell whether it was there. No transaction may be open.

    Raises:
        asyncpg.LockNotAvailableError: If somebody reads in it for longer than `lock_timeout`: try again later.
    """
    if edition != "plain":
        return bool(await connection.fetch(_DROP_CHUNKS, piece.end, piece.first))
    await connection.execute(_SET_DROPPING, piece.name)
    await connection.execute(f"ALTER TABLE transactions DETACH PARTITION {piece.name} CONCURRENTLY")
    await _drop_detached(connection, piece.name)
    return True


async def finish_drop(connection: asyncpg.Connection) -> bool:
    """Drop the partition at whose dropping somebody was interrupted, and tell whether there was one."""
    name: str | None = await connection.fetchval(_DROPPING)
    if name is None:
        return False
    is_detaching: bool | None = await connection.fetchval(_IS_DETACHING, name)
    if is_detaching is False:  # it was not begun
        await connection.execute(_SET_DROPPING, None)
        return False
    if is_detaching:
        await connection.execute(f"ALTER TABLE transactions DETACH PARTITION {name} FINALIZE")
    await _drop_detached(connection, name)
    return True


async def _drop_detached(connection: asyncpg.Connection, name: str) -> None:
    async with connection.transaction():
        await connection.execute(f"DROP TABLE IF EXISTS {name}")
        await connection.execute(_SET_DROPPING, None)


async def drop_candles(connection: asyncpg.Connection, edition: Edition, before: datetime) -> int:
    """Drop candles that begin before a time (of TimescaleDB: whole chunks); return how many rows, or chunks."""
    if edition != "timescale":
        names = [row[0] for row in await connection.fetch(_KEPT_CANDLES)]
        gone = [await connection.execute(f"DELETE FROM {name} WHERE bucket < $1", before) for name in names]  # noqa: S608 - names of the catalog
        return sum(int(told.rpartition(" ")[2]) for told in gone)
    aggregates = [row[0] for row in await connection.fetch(_AGGREGATES)]
    return sum(
        [
            len(await connection.fetch("SELECT drop_chunks($1::regclass, older_than => $2::timestamptz)", name, before))
            for name in aggregates
        ]
    )


async def arrange(connection: asyncpg.Connection, edition: Edition, rules: Rules) -> None:
    """Tell TimescaleDB the length of new chunks, and (community edition) when it shall compress which."""
    if edition == "plain":
        return
    if await connection.fetchval(_CHUNK_INTERVAL) != rules.chunk_interval:
        await connection.fetchval(_SET_CHUNK_INTERVAL, rules.chunk_interval)
    for column in await _columnstores(connection, edition, rules):
        await _compress(connection, column)


@dataclass(frozen=True, slots=True)
class _Columnstore:
    """A hypertable or aggregate, where its rows are, how compression is enabled, the age wanted and the age told."""

    name: str
    stored: tuple[str, str]
    enable: str
    after: timedelta | None
    told: timedelta | None


async def lacks_policy(connection: asyncpg.Connection, edition: Edition, rules: Rules) -> list[str]:
    """Return what should be compressed by TimescaleDB at an age that it was not told; `arrange` tells it."""
    return [column.name for column in await _columnstores(connection, edition, rules) if column.after != column.told]


async def _columnstores(connection: asyncpg.Connection, edition: Edition, rules: Rules) -> list[_Columnstore]:
    if edition != "timescale":
        return []
    schema = await connection.fetchval("SELECT current_schema()")
    wanted = [("transactions", (schema, "transactions"), _ENABLE_TRADES, rules.compress_trades_after)]
    for (name,) in await connection.fetch(_AGGREGATES):
        stored = await connection.fetchrow(_MATERIALIZATION, name)
        enable = f"ALTER MATERIALIZED VIEW {name} SET (timescaledb.enable_columnstore = TRUE)"
        wanted.append((name, tuple(stored), enable, rules.compress_candles_after))
    return [
        _Columnstore(name, stored, enable, after, await connection.fetchval(_COMPRESS_AFTER, *stored, name))
        for name, stored, enable, after in wanted
    ]


async def _compress(connection: asyncpg.Connection, column: _Columnstore) -> None:
    """Have chunks compressed at the age wanted; None: no more of them. Those that are compressed stay so."""
    # By the server's clock, unlike what is dropped: compressing too early costs time and loses nothing.
    if column.told == column.after:
        return
    if column.told is not None:
        await connection.execute("CALL remove_columnstore_policy($1::regclass, if_exists => TRUE)", column.name)
    if column.after is None:
        return
    if not await connection.fetchval(_IS_COLUMNSTORE, *column.stored):
        await connection.execute(column.enable)
    await connection.execute(
        "CALL add_columnstore_policy($1::regclass, after => $2::interval)", column.name, column.after
    )


def floor(at: datetime, unit: timedelta) -> datetime:
    """Return the last whole unit (since 1970) at or before a time."""
    return _EPOCH + (at - _EPOCH) // unit * unit
