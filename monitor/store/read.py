"""What start, `status` and people ask of the database."""

# ruff: noqa: S608  the statements are put together from the fields of the classes in this file alone

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from decoders.core.types import PoolInfo
from monitor.store.asked import HoleRow, OpenHole, Request, count_open_holes
from monitor.store.kept import FaultRow, TailRow
from monitor.store.slots import SlotRows, final_through

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    import asyncpg

__all__ = [
    "FaultRow",
    "FeedProgress",
    "GraduationRow",
    "HoleRow",
    "LaunchRow",
    "OpenHole",
    "Request",
    "SlotRows",
    "Status",
    "TailRow",
    "TradeRow",
]

_POOLS = """
SELECT p.address, p.venue, t.mint, q.address, t.platform, p.flipped, COALESCE(p.canonical, FALSE), t.platform_config
  FROM pools p JOIN tokens t ON t.id = p.token_id JOIN mints q ON q.id = p.quote_id
"""
_NEWEST_TRADE = "SELECT block_time, slot FROM transactions ORDER BY block_time DESC LIMIT 1"
# The time is given: of one that is looked up beside it the planner thinks that a third of all rows are younger.
# Not IS NOT NULL: of a thousand compressed rows together it is known which is the latest, and not whether there is one.
_VOIDED = "SELECT count(*) FROM transactions WHERE voided_at > '-infinity'"
_NEWEST_SLOT = "SELECT max(slot) FROM transactions WHERE block_time >= $1::timestamptz - INTERVAL '5 seconds'"
_LIVE_ROWS = """
WITH RECURSIVE parts AS (
    SELECT name AS part_of, name::regclass::oid AS relid FROM unnest($1::text[]) AS name
    UNION ALL
    SELECT p.part_of, i.inhrelid FROM parts p JOIN pg_inherits i ON i.inhparent = p.relid
)
SELECT p.part_of, COALESCE(sum(s.n_live_tup), 0)::bigint
  FROM parts p LEFT JOIN pg_stat_user_tables s ON s.relid = p.relid GROUP BY p.part_of
"""
_MINT, _PLATFORM, _VENUE = "mint = %s", "platform = %s", "venue = %s"
# Of a number the planner knows that the index has its rows in order, and reads as many as are wanted.
_TRADED = "token_id = (SELECT id FROM mints WHERE address = %s)"
_COUNTED = ("tokens", "mints", "pools", "transactions", "faults", "holes", "batches")


@dataclass(frozen=True, slots=True)
class FeedProgress:
    """How far a feed is complete. `updated_at` is the time of the server's clock."""

    feed: str
    program: str
    slot: int
    block_time: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """
    What the database holds. `rows` are PostgreSQL's running estimates by table; times and slots None: no trade yet.

    `launches`, `graduations` and `voided` (trades that vanished with a fork) are exact. Up to slot `final_through`
    everything was compared with the finalized chain (None: nothing was).
    """

    rows: dict[str, int]
    launches: int
    graduations: int
    open_holes: int
    voided: int
    final_through: int | None
    newest_block_time: datetime | None
    newest_slot: int | None
    progress: tuple[FeedProgress, ...]


@dataclass(frozen=True, slots=True)
class LaunchRow:
    """A row of the view `recent_launches` (docs/SCHEMA.md has units)."""

    launched_at: datetime
    platform: str | None
    mint: str
    symbol: str | None
    name: str | None
    creator: str | None
    price: Decimal | None
    market_cap: Decimal | None
    quote_symbol: str | None
    progress_percent: Decimal | None
    completed_at: datetime | None
    graduated_at: datetime | None
    curve: str | None
    uri: str | None
    signature: str


@dataclass(frozen=True, slots=True)
class TradeRow:
    """A row of the view `recent_trades` (docs/SCHEMA.md has units)."""

    block_time: datetime
    venue: str
    mint: str
    symbol: str | None
    side: str
    base_amount: Decimal | None
    quote_amount: Decimal | None
    user_quote_amount: Decimal | None
    quote_symbol: str
    price: Decimal | None
    mark_price: Decimal | None
    progress_percent: Decimal | None
    organic: bool
    synthetic: bool
    trader: str
    pool: str
    slot: int
    signature: str


@dataclass(frozen=True, slots=True)
class GraduationRow:
    """A row of the view `graduations` (docs/SCHEMA.md has units)."""

    graduated_at: datetime
    platform: str | None
    mint: str
    symbol: str | None
    name: str | None
    curve: str | None
    pool: str | None
    pool_venue: str | None
    seed_base: Decimal | None
    seed_quote: Decimal | None
    quote_symbol: str | None
    price: Decimal | None
    market_cap: Decimal | None
    launched_at: datetime | None
    completed_at: datetime | None
    signature: str


async def load_pools(connection: asyncpg.Connection, limit: int | None = None) -> dict[str, PoolInfo]:
    """Return the pools and curves whose token and quote are known, by address; the `limit` newest (None: all)."""
    rows = await connection.fetch(f"{_POOLS} ORDER BY p.id DESC LIMIT $1", limit)
    return {row[0]: PoolInfo(*row) for row in rows}


async def known_pools(connection: asyncpg.Connection, addresses: Iterable[str]) -> dict[str, PoolInfo]:
    """Return those of the pools that are known, by address."""
    rows = await connection.fetch(f"{_POOLS} WHERE p.address = ANY($1)", list(addresses))
    return {row[0]: PoolInfo(*row) for row in rows}


async def known_mints(connection: asyncpg.Connection, mints: Iterable[str]) -> set[str]:
    """Return those of the mints that are tokens of a launchpad."""
    rows = await connection.fetch("SELECT mint FROM tokens WHERE mint = ANY($1) AND platform IS NOT NULL", list(mints))
    return {row[0] for row in rows}


async def progress(connection: asyncpg.Connection) -> tuple[FeedProgress, ...]:
    """Return how far each feed is complete."""
    names = ", ".join(field.name for field in fields(FeedProgress))
    return tuple(FeedProgress(*row) for row in await connection.fetch(f"SELECT {names} FROM feeds ORDER BY 1, 2"))


async def newest_slot(connection: asyncpg.Connection) -> int | None:
    """Return the newest slot with a trade, or None if there is none."""
    newest = await connection.fetchrow(_NEWEST_TRADE)
    if newest is None:
        return None
    slot: int | None = await connection.fetchval(_NEWEST_SLOT, newest["block_time"])
    return slot


async def newest_time(connection: asyncpg.Connection) -> datetime | None:
    """Return the time of the newest trade, or None if there is none."""
    row = await connection.fetchrow(_NEWEST_TRADE)
    return None if row is None else row["block_time"]


async def oldest_slot(connection: asyncpg.Connection, after_slot: int) -> int | None:
    """Return the slot of the oldest trade behind `after_slot`, or None if there is none."""
    slot: int | None = await connection.fetchval(
        "SELECT slot FROM transactions WHERE slot > $1 ORDER BY block_time LIMIT 1", after_slot
    )
    return slot


async def first_slot(connection: asyncpg.Connection, first: int, last: int) -> int | None:
    """Return the first slot with trades of those from `first` to `last`, or None if there is none."""
    slot: int | None = await connection.fetchval(
        "SELECT min(slot) FROM transactions WHERE slot BETWEEN $1 AND $2", first, last
    )
    return slot


async def status(connection: asyncpg.Connection) -> Status:
    """Return what the database holds."""
    newest = await connection.fetchrow(_NEWEST_TRADE)
    rows = await connection.fetch(_LIVE_ROWS, list(_COUNTED))
    return Status(
        rows={row[0]: row[1] for row in rows},
        launches=await connection.fetchval("SELECT count(*) FROM tokens WHERE launched_at IS NOT NULL"),
        graduations=await connection.fetchval("SELECT count(*) FROM tokens WHERE graduated_at IS NOT NULL"),
        open_holes=await count_open_holes(connection),
        voided=await connection.fetchval(_VOIDED),
        final_through=await final_through(connection),
        newest_block_time=newest["block_time"] if newest else None,
        newest_slot=await newest_slot(connection),
        progress=await progress(connection),
    )


async def recent_launches(
    connection: asyncpg.Connection, limit: int, *, platform: str | None = None, mint: str | None = None
) -> list[LaunchRow]:
    """Return the newest launches, newest first, of one platform or mint if given."""
    rows = await _newest(connection, "recent_launches", LaunchRow, limit, {_PLATFORM: platform, _MINT: mint})
    return [LaunchRow(*row) for row in rows]


async def recent_trades(
    connection: asyncpg.Connection, limit: int, *, venue: str | None = None, mint: str | None = None
) -> list[TradeRow]:
    """Return the newest trades, newest first, of one venue or mint if given."""
    rows = await _newest(connection, "recent_trades", TradeRow, limit, {_VENUE: venue, _TRADED: mint})
    return [TradeRow(*row) for row in rows]


async def graduations(
    connection: asyncpg.Connection, limit: int, *, platform: str | None = None, mint: str | None = None
) -> list[GraduationRow]:
    """Return the newest graduations, newest first, of one platform or mint if given."""
    rows = await _newest(connection, "graduations", GraduationRow, limit, {_PLATFORM: platform, _MINT: mint})
    return [GraduationRow(*row) for row in rows]


async def _newest(
    connection: asyncpg.Connection, view: str, kind: type, limit: int, filters: Mapping[str, str | None]
) -> list[asyncpg.Record]:
    """Return rows of a view (the views are newest first). What a filter is held against takes %s's place; None: off."""
    names = ", ".join(field.name for field in fields(kind))
    given = {condition: value for condition, value in filters.items() if value is not None}
    where = " AND ".join(condition % f"${at}" for at, condition in enumerate(given, 2))
    return list(
        await connection.fetch(
            f"SELECT {names} FROM {view}{' WHERE ' if where else ''}{where} LIMIT $1", limit, *given.values()
        )
    )
