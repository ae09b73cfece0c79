"""
A schema that was made for another edition becomes one for the TimescaleDB that the server offers, and keeps every row.

The old tables are set aside into a schema of their own, the steps of `migrations/` make new ones, and rows are brought
over piece by piece: a table, a partition or a chunk, compared with what it was and dropped in the transaction that
brings it. So what is set aside is what is left to do: killed wherever it is, it goes on when it is run again. Until it
is done nobody else finds a schema to work with (`migrate.find`).
"""

# ruff: noqa: S608  names come from the catalog, as the server itself quotes them

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from monitor.errors import AlreadyRunning, ConfigError, SchemaMismatch
from monitor.store import migrate, move_candles
from monitor.store.edition import look
from monitor.store.locks import WRITER_HOLDER, WRITER_KEY
from monitor.store.trouble import translated

if TYPE_CHECKING:
    import re
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from monitor.store.edition import Offer

    # Returns the table that takes the rows, as SQL names it.
    Place = Callable[[asyncpg.Connection], Awaitable[str]]

PLACES: Mapping[str, Place] = move_candles.PLACES
"""By name: tables that have no counterpart in the other editions, whose rows have a place there all the same."""

_GRANTS = "kept_grants"
_LEDGER = "schema_migrations"

_SCHEMAS = f"SELECT quote_ident(current_schema()) AS ours, quote_ident({migrate.ASIDE}) AS aside"
_RELATIONS = """
SELECT c.oid, c.relname::text AS name, c.oid::regclass::text AS path, c.relkind = 'v' AS is_view,
       (SELECT p.relname::text FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
         WHERE i.inhrelid = c.oid) AS whole
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace($1) AND c.relkind = ANY('{r,p,v}')
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY c.relname
"""
_FUNCTIONS = """
SELECT f.oid, f.proname::text AS name, f.oid::regprocedure::text AS path FROM pg_proc f
 WHERE f.pronamespace = to_regnamespace($1)
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e')
"""
_DEPENDENTS = """
SELECT format('view %s', v.oid::regclass)
  FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
 WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = ANY('{pg_class,pg_proc}'::regclass[])
   AND d.refobjid = ANY($1::oid[]) AND v.oid <> ALL($1::oid[])
 UNION
SELECT format('foreign key %I of %s', conname, conrelid::regclass) FROM pg_constraint
 WHERE contype = 'f' AND confrelid = ANY($1::oid[])
 UNION
SELECT format('trigger %I of %s', t.tgname, t.tgrelid::regclass) FROM pg_trigger t
 WHERE t.tgrelid = ANY($1::oid[]) AND NOT t.tgisinternal AND t.tgparentid = 0
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = t.tgfoid AND d.deptype = 'e')
 ORDER BY 1
"""
_NOTE_GRANTS = """
SELECT c.relname::text AS name, a.privilege_type AS privilege, a.is_grantable,
       CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee
  FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
 WHERE c.oid = ANY($1::oid[]) AND a.grantee <> c.relowner
"""
_OWNER = "SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = to_regclass($1)"
_PIECES = "SELECT inhrelid::regclass::text AS path FROM pg_inherits WHERE inhparent = $1 ORDER BY 1"
_COLUMNS = """
SELECT quote_ident(o.attname) AS name, n.attgenerated <> '' AS is_generated
  FROM pg_attribute o
  LEFT JOIN pg_attribute n
    ON n.attrelid = to_regclass($2) AND n.attname = o.attname AND n.attnum > 0 AND NOT n.attisdropped
 WHERE o.attrelid = $1 AND o.attnum > 0 AND NOT o.attisdropped
 ORDER BY o.attnum
"""
_SEQUENCES = """
SELECT pg_get_serial_sequence($1, attname) AS old, pg_get_serial_sequence($2, attname) AS new
  FROM pg_attribute WHERE attrelid = $1::regclass AND attidentity <> '' AND NOT attisdropped
"""
_KEY = """
SELECT quote_ident(column_name) AS key FROM timescaledb_information.dimensions
 WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = to_regclass($1) AND dimension_number = 1
"""


@dataclass(frozen=True, slots=True)
class _Moving:
    """A move that is under way. Names are as SQL has them."""

    connection: asyncpg.Connection
    ours: str
    aside: str
    told: Callable[[str], None]


async def to_timescale(
    connection: asyncpg.Connection,
    told: Callable[[str], None],
    *,
    folder: Path | None = None,
    places: Mapping[str, Place] = PLACES,
) -> None:
    """
    Make the schema one of the TimescaleDB that the server offers; a new or an up-to-date one is only migrated.

    Args:
        connection: Without a transaction. It is good for nothing else afterwards, and to be closed.
        told: Called with a line of progress after each piece that is committed.
        folder: Where the steps are (None: the program's own).
        places: Where rows of tables go that the new schema lacks.

    Raises:
        AlreadyRunning: If a daemon writes, or somebody else migrates.
        ConfigError: If the user has no right to do it.
        SchemaMismatch: If the database lacks the extension, other programs' objects depend on our tables, or what was
            brought over is not what was there; nothing of it is lost then.
        StoreUnavailable: If the server does not answer.
    """
    with translated(), _refused():
        offer = await look(connection)
        _offers_timescale(offer)
        async with _alone(connection):
            ours, aside = await connection.fetchrow(_SCHEMAS)
            moving = _Moving(connection, ours, aside, told)
            if not await migrate.is_moving(connection):
                for step in await migrate.apply(connection, folder):
                    told(f"applied {step.number:04}_{step.name}")
                state = await migrate.find(connection, folder)
                if state.edition == offer.edition:
                    return
                await _set_aside(moving, migrate.made_by(state.steps))
            async with _as_owner(moving):
                for step in await migrate.apply(connection, folder, moving=True):
                    told(f"applied {step.number:04}_{step.name}")
                await move_candles.prepare(connection, aside)
                for table in await connection.fetch(_RELATIONS, aside):
                    if table["whole"] is None and table["name"] not in (_LEDGER, _GRANTS):
                        await _bring(moving, table, places)
                await _finish(moving)


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"PostgreSQL refuses to move the schema: {error}",
            mend="run it as a superuser, or as the owner of the tables with the right to CREATE in the database",
        ) from error


def _offers_timescale(offer: Offer) -> None:
    if offer.timescale is None:
        before = (
            "" if offer.is_preloaded else "install TimescaleDB, put it into shared_preload_libraries, restart, and "
        )
        raise SchemaMismatch(
            "this database lacks the extension timescaledb", mend=f"{before}run CREATE EXTENSION timescaledb in it"
        )
    offer.bear(offer.edition)


@asynccontextmanager
async def _alone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Be the only one who writes or migrates, to the end of the connection."""
    await connection.execute("SET statement_timeout = 0")
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", WRITER_KEY):
        holder = await connection.fetchval(WRITER_HOLDER, WRITER_KEY)
        raise AlreadyRunning(
            f"another process (server pid {holder}) writes to this database",
            mend="stop the daemon and its standby, and run this again",
        )
    async with migrate.locked(connection):
        yield


@asynccontextmanager
async def _as_owner(moving: _Moving) -> AsyncIterator[None]:
    """Act as the owner of what was set aside: what is made inside the block belongs to whom it belonged before."""
    owner = await moving.connection.fetchval(_OWNER, f"{moving.aside}.{_LEDGER}")
    await moving.connection.execute(f"SET ROLE {owner}")
    yield
    await moving.connection.execute("RESET ROLE")


async def _set_aside(moving: _Moving, made: re.Pattern[str]) -> None:
    """Take everything of ours out of the way, in one transaction. Views hold nothing: they are dropped."""
    connection, aside = moving.connection, moving.aside
    async with connection.transaction():
        relations = [
            row
            for row in await connection.fetch(_RELATIONS, moving.ours)
            if made.fullmatch(row["whole"] or row["name"])
        ]
        functions = [row for row in await connection.fetch(_FUNCTIONS, moving.ours) if made.fullmatch(row["name"])]
        oids = [row["oid"] for row in (*relations, *functions)]
        others = [row[0] for row in await connection.fetch(_DEPENDENTS, oids)]
        if others:
            raise SchemaMismatch(
                f"objects that are not launch-monitor's depend on its tables: {', '.join(others)}",
                mend="drop them, run this again, and then make them again",
            )
        grants = await connection.fetch(_NOTE_GRANTS, oids)
        owner = await connection.fetchval(_OWNER, f"{moving.ours}.{_LEDGER}")
        await connection.execute(f"CREATE SCHEMA {aside} AUTHORIZATION {owner}")
        await connection.execute(
            f"CREATE TABLE {aside}.{_GRANTS} (name TEXT, privilege TEXT, is_grantable BOOLEAN, grantee TEXT)"
        )
        await connection.executemany(
            f"INSERT INTO {aside}.{_GRANTS} VALUES ($1, $2, $3, $4)", [tuple(row) for row in grants]
        )
        views = [row["path"] for row in relations if row["is_view"]]
        if views:
            await connection.execute(f"DROP VIEW {', '.join(views)}")
        for kind, rows in (("TABLE", relations), ("FUNCTION", functions)):
            for row in rows:
                if kind == "FUNCTION" or not row["is_view"]:
                    await connection.execute(f"ALTER {kind} {row['path']} SET SCHEMA {aside}")
        for kind, rows in (
            ("TABLE", await connection.fetch(_RELATIONS, aside)),
            ("FUNCTION", await connection.fetch(_FUNCTIONS, aside)),
        ):
            for row in rows:
                await connection.execute(f"ALTER {kind} {row['path']} OWNER TO {owner}")
    moving.told(f"set the tables aside into the schema {aside}")


async def _bring(moving: _Moving, table: asyncpg.Record, places: Mapping[str, Place]) -> None:
    """Bring a table's rows over, a piece at a time, and drop it."""
    connection, old, new = moving.connection, table["path"], f"{moving.ours}.{table['name']}"
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", new):
        if table["name"] not in places:
            await _drop_empty(moving, old)
            return
        new = await places[table["name"]](connection)
    columns = await connection.fetch(_COLUMNS, table["oid"], new)
    lost = [column["name"] for column in columns if column["is_generated"] is None]
    if lost:
        raise SchemaMismatch(f"the new table {table['name']} lacks {', '.join(lost)}")
    key = await connection.fetchval(_KEY, new)
    pieces = await connection.fetch(_PIECES, table["oid"])
    for piece in pieces:
        async with connection.transaction():
            count = await _copy(connection, piece["path"], new, columns, key)
            await connection.execute(f"DROP TABLE {piece['path']}")
        moving.told(f"moved {piece['path']}: {count:,} rows")
    async with connection.transaction():
        # Of a table in pieces nothing is left now. A new one that is no hypertable holds what the steps put there.
        if key is None:
            await connection.execute(f"DELETE FROM {new}")
        count = await _copy(connection, old, new, columns, key)
        for sequence in await connection.fetch(_SEQUENCES, old, new):
            await connection.execute(
                f"SELECT setval('{sequence['new']}', last_value, is_called) FROM {sequence['old']}"
            )
        await connection.execute(f"DROP TABLE {old}")
    if not pieces:
        moving.told(f"moved {table['name']}: {count:,} rows")
    await connection.execute(f"ANALYZE {new}")


async def _copy(
    connection: asyncpg.Connection, old: str, new: str, columns: Sequence[asyncpg.Record], key: str | None
) -> int:
    """Copy all rows, look at each of them where they came to be, and return how many they are."""
    await connection.execute(f"LOCK TABLE {old} IN ACCESS EXCLUSIVE MODE")
    await connection.execute(f"LOCK TABLE ONLY {new} IN SHARE ROW EXCLUSIVE MODE")
    names = ", ".join(column["name"] for column in columns)
    written = ", ".join(column["name"] for column in columns if not column["is_generated"])
    digest = f"SELECT count(*), sum(hashtextextended(ROW({names})::text, 0)::numeric)"
    first, last = await connection.fetchrow(f"SELECT min({key}), max({key}) FROM {old}") if key else (None, None)
    before = await connection.fetchrow(f"{digest} FROM {old}")
    await connection.execute(f"INSERT INTO {new} ({written}) OVERRIDING SYSTEM VALUE SELECT {written} FROM {old}")
    there = f"{digest} FROM {new}" + (f" WHERE {key} BETWEEN $1 AND $2" if key else "")
    after = await connection.fetchrow(there, *((first, last) if key else ()))
    if after != before:
        raise SchemaMismatch(
            f"{new} does not hold what {old} held: {after[0]} rows, not {before[0]}, or other values",
            mend="nothing is lost: find out who else writes there, and run this again",
        )
    count: int = before[0]
    return count


async def _drop_empty(moving: _Moving, old: str) -> None:
    async with moving.connection.transaction():
        await moving.connection.execute(f"LOCK TABLE {old} IN ACCESS EXCLUSIVE MODE")
        count = await moving.connection.fetchval(f"SELECT count(*) FROM {old}")
        if count:
            raise SchemaMismatch(
                f"the new schema has no place for {count} rows of {old}",
                mend="nothing is lost: run this again with a launch-monitor that knows where they go",
            )
        await moving.connection.execute(f"DROP TABLE {old}")


async def _finish(moving: _Moving) -> None:
    """Let everybody do what they could, and remove what is left aside: nothing of it holds a row of ours."""
    connection, aside = moving.connection, moving.aside
    async with connection.transaction():
        for grant in await connection.fetch(f"SELECT * FROM {aside}.{_GRANTS}"):
            path = f"{moving.ours}.{grant['name']}"
            if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", path):
                option = " WITH GRANT OPTION" if grant["is_grantable"] else ""
                await connection.execute(f"GRANT {grant['privilege']} ON {path} TO {grant['grantee']}{option}")
        await connection.execute(f"DROP TABLE {aside}.{_LEDGER}, {aside}.{_GRANTS}")
        functions = [row["path"] for row in await connection.fetch(_FUNCTIONS, aside)]
        if functions:
            await connection.execute(f"DROP FUNCTION {', '.join(functions)}")
        await connection.execute(f"DROP SCHEMA {aside}")
    moving.told("done")
