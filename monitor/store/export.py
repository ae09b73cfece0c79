"""Rows of a table or view, of a range of its time, as they leave the database."""

# ruff: noqa: S608  the statements are put together from names that the database's own catalog holds, quoted

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime
    from typing import Any

    import asyncpg

# Partitions and chunks are parts of what is listed.
_RELATIONS = """
SELECT relname FROM pg_class
 WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition
 ORDER BY relname
"""
_COLUMNS = """
SELECT a.attname, t.typname, a.atttypmod
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = format('%I.%I', current_schema(), $1::text)::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
_TIME = "timestamptz"
_ORDER = "chain_order"
_TYPMOD_HEADER = 4
"""What PostgreSQL adds to the precision and scale of a NUMERIC (src/include/utils/numeric.h)."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `digits` are precision and scale of a NUMERIC (None: another type, or as many as a value needs)."""

    name: str
    type: str
    digits: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view. `time` is the column that ranges speak of, its first one of that type; None: it has none."""

    name: str
    columns: tuple[Column, ...]

    @property
    def time(self) -> str | None:
        """The column that ranges speak of."""
        return next((column.name for column in self.columns if column.type == _TIME), None)


@dataclass(frozen=True, slots=True)
class Range:
    """From a time on, and up to another, which is not in it; None: no bound."""

    first: datetime | None = None
    end: datetime | None = None

    def __bool__(self) -> bool:
        return self.first is not None or self.end is not None


async def find(connection: asyncpg.Connection, name: str) -> Relation:
    """
    Return what is known of a table or view.

    Raises:
        UsageError: If there is none of that name.
    """
    known = [row["relname"] for row in await connection.fetch(_RELATIONS)]
    if name not in known:
        raise UsageError(f"there is no table {name!r}", mend=f"give one of {', '.join(known)}")
    return Relation(name, tuple(_column(*row) for row in await connection.fetch(_COLUMNS, name)))


def _column(name: str, kind: str, typmod: int) -> Column:
    if kind != "numeric" or typmod < _TYPMOD_HEADER:
        return Column(name, kind)
    packed = typmod - _TYPMOD_HEADER
    return Column(name, kind, (packed >> 16 & 0xFFFF, packed & 0x7FF))


def statement(relation: Relation, within: Range, cast: Callable[[Column], str | None] | None = None) -> str:
    """
    Return the statement that selects a range, in the order of time, and of the chain where that is known.

    Rows whose time is not known are in no range.

    Args:
        relation: What is selected from.
        within: Its bounds are parameters, in the order in which they are there.
        cast: Returns the type that a column is wanted in (None: its own).

    Raises:
        UsageError: If a range is asked of what has no time.
    """
    wanted = [(column, cast(column) if cast else None) for column in relation.columns]
    names = ", ".join(_quoted(column.name) + (f"::{kind} AS {_quoted(column.name)}" if kind else "")
                      for column, kind in wanted)  # fmt: skip
    text = f"SELECT {names} FROM {_quoted(relation.name)} AS r"
    if relation.time is None:
        if within:
            raise UsageError(f"{relation.name} has no time", mend="leave --from and --to out: all of it is exported")
        return text
    time = f"r.{_quoted(relation.time)}"
    bounds = [sign for sign, bound in ((">=", within.first), ("<", within.end)) if bound is not None]
    if bounds:
        text += " WHERE " + " AND ".join(f"{time} {sign} ${at}" for at, sign in enumerate(bounds, 1))
    is_ordered = any(column.name == _ORDER for column in relation.columns)
    return f"{text} ORDER BY {time}" + (f", r.{_ORDER}" if is_ordered else "")


def parameters(within: Range) -> list[datetime]:
    """Return the parameters of `statement`."""
    return [bound for bound in (within.first, within.end) if bound is not None]


async def estimate(connection: asyncpg.Connection, relation: Relation, within: Range) -> int:
    """Return about how many rows a range has: what the planner believes, which costs nothing."""
    plan = await connection.fetchval(
        f"EXPLAIN (FORMAT JSON) {statement(relation, within)}", *parameters(within)
    )  # fmt: skip
    rows: int = json.loads(plan)[0]["Plan"]["Plan Rows"]
    return rows


async def csv(
    connection: asyncpg.Connection, relation: Relation, within: Range, sink: Callable[[bytes], Awaitable[None]]
) -> int:
    """
    Hand a range to `sink` as CSV with a header, in pieces as they come, and return how many rows it had.

    NULL is nothing, an empty text is "". The next piece is asked for when the sink has taken the last.
    """
    done: str = await connection.copy_from_query(
        statement(relation, within), *parameters(within), output=sink, format="csv", header=True
    )
    return int(done.rpartition(" ")[2])


async def rows(
    connection: asyncpg.Connection,
    relation: Relation,
    within: Range,
    cast: Callable[[Column], str | None],
    *,
    at_once: int,
) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield the rows of a range, `at_once` of them at most in a piece, each column cast as `statement` says."""
    bound: list[Any] = parameters(within)
    async with connection.transaction(readonly=True):
        cursor = await connection.cursor(statement(relation, within, cast), *bound)
        while piece := await cursor.fetch(at_once):
            yield piece


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
