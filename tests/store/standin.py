"""Candles as simple as can be, for tests of what becomes of the trades below them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

_MAKE = """
CREATE TABLE IF NOT EXISTS stale_candles (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_time TIMESTAMPTZ NOT NULL,
    last_time  TIMESTAMPTZ NOT NULL,
    marked_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS counted (minute TIMESTAMPTZ, pool_id BIGINT, trades BIGINT, base NUMERIC);
"""
# From the day of the horizon on everything is counted anew; what is older stands.
_FORGET = "DELETE FROM counted WHERE minute >= $1"
_COUNT = """
INSERT INTO counted SELECT date_trunc('minute', block_time), pool_id, count(*), sum(base_amount)
  FROM transactions WHERE block_time >= $1 AND voided_at IS NULL GROUP BY 1, 2
"""
_FROM = "SELECT COALESCE(date_trunc('day', trades_from), '-infinity') FROM lifecycle"
_BEHIND = timedelta(seconds=120)


class Counting:
    """
    Counts trades by minute and pool: what of it is of dropped trades must stay.

    While `is_lazy` it makes nothing. `refreshed` counts how often it was asked to.
    """

    def __init__(self) -> None:
        self.is_lazy = False
        self.refreshed = 0
        self.through: datetime | None = None

    async def make(self, connection: asyncpg.Connection) -> None:
        """Make its tables, as far as they are not there."""
        await connection.execute(_MAKE)

    async def refresh(self, connection: asyncpg.Connection, newest: datetime) -> None:
        """Count all that may have changed."""
        self.refreshed += 1
        if self.is_lazy:
            return
        async with connection.transaction():
            since = await connection.fetchval(_FROM)
            await connection.execute(_FORGET, since)
            await connection.execute(_COUNT, since)
            await connection.execute("DELETE FROM stale_candles")
        self.through = newest - _BEHIND

    async def is_settled(self, connection: asyncpg.Connection, before: datetime) -> bool:
        """Tell whether all before that time is counted."""
        marked = await connection.fetchval("SELECT EXISTS (SELECT FROM stale_candles WHERE first_time < $1)", before)
        return self.through is not None and self.through >= before and not marked
