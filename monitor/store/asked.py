"""Holes and requests as people and helpers file them, and what became of them."""

# ruff: noqa: S608  the statements are put together from the fields of the classes in this file alone

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import msgspec

from monitor.store.batch import EVERY_PROGRAM, SKIPPED_BY_START
from monitor.store.commits import INSERT_HOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import asyncpg

TO_FILL = f"filled_at IS NULL AND reason <> '{SKIPPED_BY_START}'"
_SAME_OPEN_HOLE = """
SELECT id FROM holes
 WHERE filled_at IS NULL AND CASE WHEN $5::text IS NOT NULL THEN signature = $5
       ELSE signature IS NULL AND (first_slot, last_slot, feed, program, reason) = ($3, $4, $1, $2, $6) END
"""
_FILE_REQUEST = "INSERT INTO requests (kind, args) VALUES ($1, $2) RETURNING id"
_SETTLE_REQUEST = "UPDATE requests SET done_at = now(), result = $2 WHERE id = $1 AND done_at IS NULL"


@dataclass(frozen=True, slots=True)
class OpenHole:
    """
    Something known to be missing: all of the slots, or (`signature` set) one transaction in them.

    Of the slots everything up to and including `filled_through` is there by now (None: nothing).
    """

    id: int
    first_slot: int
    last_slot: int
    signature: str | None
    reason: str
    feed: str
    filled_through: int | None = None


@dataclass(frozen=True, slots=True)
class HoleRow:
    """A row of `holes` (docs/SCHEMA.md); `filled_at` None: it is open."""

    id: int
    feed: str
    program: str
    first_slot: int
    last_slot: int
    signature: str | None
    reason: str
    seen_at: datetime
    filled_through: int | None
    tries: int
    last_error: str | None
    filled_at: datetime | None
    filled_by: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """Something that the writer was asked to do; `done_at` None: it has yet to be done."""

    id: int
    kind: str
    args: dict[str, Any]
    filed_at: datetime
    done_at: datetime | None
    result: dict[str, Any] | None


def _names(kind: type) -> str:
    return ", ".join(field.name for field in fields(kind))


async def open_holes(connection: asyncpg.Connection, limit: int, without: Iterable[int] = ()) -> list[OpenHole]:
    """Return up to `limit` open holes but those left on purpose or of the ids `without`, oldest slots first."""
    rows = await connection.fetch(
        f"SELECT {_names(OpenHole)} FROM holes WHERE {TO_FILL} AND id <> ALL($2) ORDER BY first_slot, id LIMIT $1",
        limit,
        list(without),
    )
    return [OpenHole(*row) for row in rows]


async def count_open_holes(connection: asyncpg.Connection) -> int:
    """Return how many holes are open, but those left on purpose."""
    count: int = await connection.fetchval(f"SELECT count(*) FROM holes WHERE {TO_FILL}")
    return count


async def holes(connection: asyncpg.Connection, *, open_only: bool, limit: int) -> list[HoleRow]:
    """Return up to `limit` holes: the open ones, oldest slots first, or all, the last noticed first."""
    which = "WHERE filled_at IS NULL ORDER BY first_slot, id" if open_only else "ORDER BY id DESC"
    rows = await connection.fetch(f"SELECT {_names(HoleRow)} FROM holes {which} LIMIT $1", limit)
    return [HoleRow(*row) for row in rows]


async def hole(connection: asyncpg.Connection, hole_id: int) -> HoleRow | None:
    """Return a hole, or None if there is none of that id."""
    row = await connection.fetchrow(f"SELECT {_names(HoleRow)} FROM holes WHERE id = $1", hole_id)
    return None if row is None else HoleRow(*row)


async def file_hole(
    connection: asyncpg.Connection, first_slot: int, last_slot: int, reason: str, signature: str | None, feed: str
) -> int:
    """Note a hole and return its id: that of the one that is open, if it is the same."""
    place = (feed, EVERY_PROGRAM, first_slot, last_slot, signature)
    while True:
        made = await connection.fetchval(f"{INSERT_HOLE} RETURNING id", *place, reason, None)
        # The same one may be filled between the two statements: then there is room for ours.
        hole_id: int | None = made or await connection.fetchval(_SAME_OPEN_HOLE, *place, reason)
        if hole_id is not None:
            return hole_id


async def file_request(connection: asyncpg.Connection, kind: str, args: Mapping[str, Any]) -> int:
    """Ask the writer for something and return the request's id."""
    request_id: int = await connection.fetchval(_FILE_REQUEST, kind, msgspec.json.encode(args).decode())
    return request_id


async def open_requests(connection: asyncpg.Connection) -> list[Request]:
    """Return what has yet to be done, oldest first."""
    rows = await connection.fetch(f"SELECT {_names(Request)} FROM requests WHERE done_at IS NULL ORDER BY id")
    return [_request(row) for row in rows]


async def request(connection: asyncpg.Connection, request_id: int) -> Request | None:
    """Return a request, or None if there is none of that id."""
    row = await connection.fetchrow(f"SELECT {_names(Request)} FROM requests WHERE id = $1", request_id)
    return None if row is None else _request(row)


async def settle_request(connection: asyncpg.Connection, request_id: int, result: Mapping[str, Any]) -> None:
    """Note that a request is done, and what came of it. One that is done stays as it is."""
    await connection.execute(_SETTLE_REQUEST, request_id, msgspec.json.encode(result).decode())


def _request(row: asyncpg.Record) -> Request:
    members = dict(row)
    for name in ("args", "result"):
        members[name] = None if row[name] is None else msgspec.json.decode(row[name])
    return Request(**members)
