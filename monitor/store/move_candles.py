"""
Candles of a plain schema, which it keeps in tables, come into continuous aggregates when it moves to TimescaleDB.

Their trades may be gone, so they are not made again but put where the aggregates keep theirs. TimescaleDB shows what it
keeps up to a watermark of its own, which only a refresh moves: before anything is brought, a trade of our own making is
stored in the last bucket that was kept, refreshed, and taken away again, whereupon the watermark stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.candles import LEVELS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    import asyncpg

_MADE_OF = {"4h": ("1h",), "1d": ("1h", "4h")}
"""Levels that are made of others, which must have a trade before it shows up there."""
_HAS_AGGREGATES = """
SELECT count(*) > 0 FROM timescaledb_information.continuous_aggregates
 WHERE view_schema = current_schema() AND view_name = 'candles_1m'
"""
_KEPT_IN = """
SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
  FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema() AND view_name = $1
"""
_STILL_ASIDE = "SELECT count(*) FROM unnest($1::text[]) n (name) WHERE to_regclass(name) IS NOT NULL"
_INSERT = """
INSERT INTO transactions (block_time, slot, chain_order, token_id, pool_id, quote_id, batch_no, base_amount,
    quote_amount, user_quote_amount, nth, order_exact, organic, synthetic, signature, venue, event, side, trader)
SELECT $1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 0, FALSE, FALSE, TRUE, 'launch-monitor migrate', '', '', '', ''
    ON CONFLICT DO NOTHING
"""
_DELETE = "DELETE FROM transactions WHERE signature = 'launch-monitor migrate'"
_REFRESH = "CALL refresh_continuous_aggregate($1::text::regclass, $2::timestamptz, $3::timestamptz)"


async def prepare(connection: asyncpg.Connection, aside: str) -> None:
    """
    Let the aggregates show what they keep up to where candles were kept.

    Args:
        connection: Without a transaction.
        aside: The schema in which the old tables are, as SQL names it.
    """
    names = [f"{aside}.candles_kept_{level}" for level in LEVELS]
    # Tables are brought in the order of their names: while all of these are there, no candle and no trade has been.
    if await connection.fetchval(_STILL_ASIDE, names) < len(names) or not await connection.fetchval(_HAS_AGGREGATES):
        return
    ours = await connection.fetchval("SELECT to_regclass($1) IS NULL", f"{aside}.candle_levels")
    levels = f"{'' if ours else f'{aside}.'}candle_levels"
    query = f"SELECT level, through FROM {levels} WHERE through > '-infinity'"  # noqa: S608  a name of the catalog's
    windows = [
        (name, through - LEVELS[level], LEVELS[name])
        for level, through in await connection.fetch(query)
        for name in (*_MADE_OF.get(level, ()), level)
    ]
    windows.sort(key=lambda window: window[2])
    for at in {since for _, since, _ in windows}:
        await connection.execute(_INSERT, at)
    await _refresh(connection, windows)
    await connection.execute(_DELETE)
    await _refresh(connection, windows)


async def _refresh(connection: asyncpg.Connection, windows: list[tuple[str, datetime, timedelta]]) -> None:
    for level, since, width in windows:
        await connection.execute(_REFRESH, f"candles_{level}", since, since + width)


def _kept_in(level: str) -> Callable[[asyncpg.Connection], Awaitable[str]]:
    async def find(connection: asyncpg.Connection) -> str:
        path: str = await connection.fetchval(_KEPT_IN, f"candles_{level}")
        return path

    return find


PLACES = {f"candles_kept_{level}": _kept_in(level) for level in LEVELS}
"""Where the rows of each table of candles go."""
