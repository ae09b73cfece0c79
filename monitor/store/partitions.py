"""The spans of time for which `transactions` has a partition, on servers without TimescaleDB."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from monitor.store.roles import as_owner

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY = timedelta(days=1)
_AHEAD_PIECES = 2
_AHEAD = timedelta(hours=6)
_EPOCH = datetime.fromtimestamp(0, UTC)
_BOUNDS = re.compile(r"FOR VALUES FROM \('?(.+?)'?\) TO \('?(.+?)'?\)")
_ENDS = {"MINVALUE": datetime.min.replace(tzinfo=UTC), "MAXVALUE": datetime.max.replace(tzinfo=UTC)}

_LIST = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'transactions'::regclass
"""


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A table with the rows of a span of time, its end not included."""

    first: datetime
    end: datetime
    name: str


class Partitions:
    """
    Makes the partitions that a batch needs before it is written, and those of the time after the newest one.

    A partition is created beside the table and then attached: creating it as one would lock all readers out until the
    longest of them is done. Those that are there stay as they are when the interval is another one from now on: new
    ones fill what is between them.
    """

    def __init__(self, interval: timedelta = DAY) -> None:
        """
        Know nothing yet.

        Args:
            interval: Length of each; a day is a multiple of it, or it one of a day.
        """
        self._interval = interval
        self._pieces: list[Piece] | None = None
        self._newest = _ENDS["MINVALUE"]

    def forget(self) -> None:
        """Look at the database again before the next batch."""
        self._pieces = None

    async def ensure(self, connection: asyncpg.Connection, times: Iterable[datetime]) -> None:
        """Make what is missing for rows of those times (UTC)."""
        wanted = sorted(times)
        if not wanted:
            return
        if wanted[-1] > self._newest:
            self._newest = wanted[-1]
            pieces = max(_AHEAD_PIECES, -(-_AHEAD // self._interval))
            wanted += [self._newest + ahead * self._interval for ahead in range(1, pieces + 1)]
        for at in wanted:
            try:
                await self._make(connection, at)
            except (asyncpg.InvalidObjectDefinitionError, asyncpg.DuplicateTableError):
                # Somebody made one meanwhile: find out which there are.
                self.forget()
                await self._make(connection, at)

    async def _make(self, connection: asyncpg.Connection, at: datetime) -> None:
        """Make a piece with that time in it, if there is none."""
        if self._pieces is None:
            self._pieces = await partitions(connection)
        place = bisect_right(self._pieces, at, key=lambda piece: piece.first)
        if not place or self._pieces[place - 1].end <= at:
            self._pieces.insert(place, await _create(connection, *self._span(at, self._pieces, place)))

    def _span(self, at: datetime, pieces: list[Piece], place: int) -> tuple[datetime, datetime]:
        """Return the span of a new piece with `at` in it, which has its place among the others."""
        first = _EPOCH + (at - _EPOCH) // self._interval * self._interval
        end = first + self._interval
        if place:
            first = max(first, pieces[place - 1].end)
        if place < len(pieces):
            end = min(end, pieces[place].first)
        return first, end


async def partitions(connection: asyncpg.Connection) -> list[Piece]:
    """Return the partitions that are there, by time."""
    found = []
    for name, text in await connection.fetch(_LIST):
        if bounds := _BOUNDS.fullmatch(text):
            found.append(Piece(_time(bounds[1]), _time(bounds[2]), name))
    return sorted(found)


def _time(text: str) -> datetime:
    return _ENDS.get(text) or datetime.fromisoformat(text)


async def _create(connection: asyncpg.Connection, first: datetime, end: datetime) -> Piece:
    name = await _free_name(connection, first)
    async with connection.transaction():
        await as_owner(connection)
        await connection.execute(f"CREATE TABLE {name} (LIKE transactions INCLUDING ALL)")
        await connection.execute(
            f"ALTER TABLE transactions ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{first.isoformat()}') TO ('{end.isoformat()}')"
        )
    return Piece(first, end, name)


async def _free_name(connection: asyncpg.Connection, first: datetime) -> str:
    """Return a name after day (and hour) of its begin; a table that somebody detached may have the usual one."""
    usual = f"transactions_p{first:%Y%m%d}" + (f"_{first:%H}" if first.hour else "")
    name, tries = usual, 1
    while await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
        tries += 1
        name = f"{usual}_{tries}x"
    return name
