"""The days for which `transactions` has a partition, on servers without TimescaleDB."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from monitor.store.roles import as_owner

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    import asyncpg

_NAME = re.compile(r"transactions_p(\d{8})")
_DAY = timedelta(days=1)
_DAYS_AHEAD = 2

_LIST = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'transactions'::regclass
"""


class Partitions:
    """
    Makes the partitions that a batch needs before it is written, and those of the days after it.

    A partition is created beside the table and then attached: creating it as one would lock all readers out until the
    longest of them is done.
    """

    def __init__(self) -> None:
        self._days: set[date] | None = None

    def forget(self) -> None:
        """Look at the database again before the next batch."""
        self._days = None

    async def ensure(self, connection: asyncpg.Connection, times: Iterable[datetime]) -> None:
        """Make what is missing for rows of those times (UTC)."""
        days = {at.date() for at in times}
        if not days:
            return
        if self._days is None:
            self._days = await _existing(connection)
        newest = max(days)
        missing = (days | {newest + _DAY * ahead for ahead in range(1, _DAYS_AHEAD + 1)}) - self._days
        for day in sorted(missing):
            await _create(connection, day)
            self._days.add(day)


async def _existing(connection: asyncpg.Connection) -> set[date]:
    names = [_NAME.fullmatch(row["relname"]) for row in await connection.fetch(_LIST)]
    return {datetime.strptime(name[1], "%Y%m%d").replace(tzinfo=UTC).date() for name in names if name}


async def _create(connection: asyncpg.Connection, day: date) -> None:
    name = f"transactions_p{day:%Y%m%d}"
    first, end = (datetime.combine(at, time(), UTC).isoformat() for at in (day, day + _DAY))
    async with connection.transaction():
        await as_owner(connection)
        await connection.execute(f"CREATE TABLE {name} (LIKE transactions INCLUDING ALL)")
        await connection.execute(
            f"ALTER TABLE transactions ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')"
        )
