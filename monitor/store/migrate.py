r"""
The schema's steps, each applied once, in order and never changed afterwards.

A step is a file `NNNN_name.sql`, or several that tell their editions: `NNNN_name.timescale.sql`, and for those that
share a text `NNNN_name.apache-plain.sql`. It runs in a transaction with the note that it was applied, unless its first
line is `-- no-transaction`: then its statements (each ends with a `;` at the end of a line) run one by one, and it must
bear being run again from the start if it was cut short. One that ends with `\gexec` instead returns statements, which
then run one by one, as in psql.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import structlog

from monitor.data import data_dir
from monitor.errors import AlreadyRunning, ConfigError, SchemaMismatch
from monitor.store.edition import EDITIONS, LICENCE_MEND, look
from monitor.store.trouble import translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from monitor.store.edition import Edition, Offer

log = structlog.get_logger()

NO_TRANSACTION = "-- no-transaction"
_OWN_DATABASE = "give launch-monitor a database of its own"
_RUN_RESULT = "\\gexec"

_EDITION = "|".join(EDITIONS)
_NAME = re.compile(rf"(\d{{4}})_([a-z0-9_]+)(?:\.((?:{_EDITION})(?:-(?:{_EDITION}))*))?\.sql")
_LOCK_KEY = int.from_bytes(hashlib.sha256(b"launch-monitor migrate").digest()[:8], signed=True)
_LOCK_TIMEOUT_S = 60
_LOOK_S = 0.1

_CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     BIGINT PRIMARY KEY,
    name       TEXT NOT NULL,
    edition    TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""
_NOTE = "INSERT INTO schema_migrations (number, name, edition, checksum) VALUES ($1, $2, $3, $4)"
_APPLIED = "SELECT number, name, edition, checksum FROM schema_migrations ORDER BY number"
_LEDGER_COLUMNS = """
SELECT array_agg(attname::text) FROM pg_attribute
 WHERE attrelid = to_regclass('schema_migrations') AND attnum > 0 AND NOT attisdropped
"""

ASIDE = "format('%s_set_aside', current_schema())"
"""Where tables wait while a schema is made anew (monitor/store/move.py), as SQL."""
_IS_MOVING = f"SELECT to_regnamespace(quote_ident({ASIDE})) IS NOT NULL"

_MADE = re.compile(
    r"^\s*CREATE (?:OR REPLACE )?(?:TABLE|(?:MATERIALIZED )?VIEW|FUNCTION) (?:IF NOT EXISTS )?([a-z][a-z0-9_%$]*)",
    re.MULTILINE,
)
_NAMES = """
SELECT n.name FROM (
    SELECT oid, relname::text AS name FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind = ANY('{r,p,v,m,f}')
     UNION ALL
    SELECT oid, proname::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace) n
 WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = n.oid AND d.deptype = 'e')
 ORDER BY n.name
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step, as it is for some editions."""

    number: int
    name: str
    editions: tuple[Edition, ...]
    text: str

    @property
    def checksum(self) -> str:
        """What tells whether the file was changed after it was applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        """Tell whether the step may run in a transaction."""
        return not self.text.startswith(NO_TRANSACTION)


@dataclass(frozen=True, slots=True)
class State:
    """The edition that a schema is made for, the steps that it lacks, all of them, and whether any was applied."""

    edition: Edition
    pending: tuple[Migration, ...]
    steps: tuple[Migration, ...]
    offer: Offer
    applied: bool


def migrations_dir() -> Path:
    """Return the folder of the steps, in a clone as well as in an installation."""
    return data_dir("migrations")


def read(folder: Path) -> list[Migration]:
    """
    Return every step in a folder, by number.

    Raises:
        SchemaMismatch: If a file's name is none of a step.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise SchemaMismatch(f"{path.name} is no name of a migration", mend="NNNN_name[.edition[-edition]].sql")
        named = tuple(known for known in EDITIONS if name[3] is None or known in name[3].split("-"))
        found.append(Migration(int(name[1]), name[2], named, path.read_text(encoding="utf-8")))
    return found


def choose(migrations: Sequence[Migration], edition: Edition) -> list[Migration]:
    """Return the steps of one edition."""
    return [migration for migration in migrations if edition in migration.editions]


def statements(text: str) -> Iterator[str]:
    """Yield the statements of a step that runs without a transaction."""
    for statement in re.split(r"(?:;|(?<=\\gexec))[ \t]*(?:\n|$)", text):
        lines = [line for line in statement.splitlines() if line.strip() and not line.lstrip().startswith("--")]
        if lines:
            yield "\n".join(lines)


async def check(connection: asyncpg.Connection, folder: Path | None = None) -> Edition:
    """
    Make sure that the database has exactly the schema of this program, and return its edition.

    Raises:
        SchemaMismatch: If not.
        StoreUnavailable: If the server does not answer.
    """
    with translated():
        state = await find(connection, folder)
    if state.pending:
        missing = ", ".join(f"{step.number:04}_{step.name}" for step in state.pending)
        raise SchemaMismatch(f"the database lacks {missing}", mend="run `launch-monitor migrate`")
    return state.edition


async def newest(connection: asyncpg.Connection) -> int:
    """Return the number of the last step that was applied."""
    number: int = await connection.fetchval("SELECT max(number) FROM schema_migrations")
    return number


async def apply(
    connection: asyncpg.Connection, folder: Path | None = None, *, edition: Edition | None = None, moving: bool = False
) -> list[Migration]:
    """
    Bring the database's schema up to this program's, and return the steps that it took.

    Two at once do no harm: the second waits for the first, up to a minute.

    Args:
        connection: Whose user will own what is made.
        folder: Where the steps are (None: the program's own).
        edition: What a new schema is made for (None: the most that the server offers).
        moving: Whether this is part of a move to another edition.

    Raises:
        SchemaMismatch: If the database is ahead, an applied step was changed, or its tables are not ours; or if it is
            new, and TimescaleDB is there but for the extension in this database.
        ConfigError: If the user has no right to do it.
        AlreadyRunning: If somebody else has been migrating for a minute.
        StoreUnavailable: If the server does not answer.
    """
    with translated():
        async with locked(connection):
            state = await find(connection, folder, edition=edition, moving=moving)
            if not state.applied:
                await _look_before(connection, state, edition)
            for migration in state.pending:
                is_first = not state.applied and migration is state.pending[0]
                await _apply_one(connection, migration, state.edition, is_first=is_first)
                log.info("migration_applied", number=migration.number, name=migration.name, edition=state.edition)
    return list(state.pending)


@asynccontextmanager
async def locked(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """
    Be the only one who migrates this database inside the block. One connection may do so more than once.

    Raises:
        AlreadyRunning: If somebody else has been at it for a minute.
    """
    await _take_turn(connection)
    await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_S}s'")
    connection.add_log_listener(_log_notice)
    try:
        yield
    finally:
        if not connection.is_closed():
            connection.remove_log_listener(_log_notice)
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)
            await connection.execute("RESET lock_timeout")


async def find(
    connection: asyncpg.Connection,
    folder: Path | None = None,
    *,
    edition: Edition | None = None,
    moving: bool = False,
) -> State:
    """
    Compare a database with the steps of a folder (None: the program's own).

    Args:
        connection: Of the database.
        folder: Where the steps are.
        edition: What a new schema is made for (None: the most that the server offers).
        moving: Whether tables may be set aside; else a move that was interrupted is an error.

    Raises:
        SchemaMismatch: If the database is ahead, an applied step was changed, or the server lacks what it needs.
    """
    files = read(folder or migrations_dir())
    offer = await look(connection)
    applied = await connection.fetch(_APPLIED) if await _has_ledger(connection) else []
    if not moving and await is_moving(connection):
        raise SchemaMismatch(
            "the schema is half-way to TimescaleDB: rows of ours are still set aside",
            mend="run `launch-monitor migrate --to-timescale` again: it goes on where it was",
        )
    edition = applied[0]["edition"] if applied else edition or offer.edition
    offer.bear(edition)
    steps = {step.number: step for step in choose(files, edition)}
    for row in applied:
        step = steps.pop(row["number"], None)
        label = f"{row['number']:04}_{row['name']}"
        if step is None:
            raise SchemaMismatch(f"the database is ahead: it has {label}", mend="run a newer launch-monitor")
        if step.checksum != row["checksum"]:
            raise SchemaMismatch(f"{label} was changed after it was applied", mend="restore the file of the release")
    last = applied[-1]["number"] if applied else 0
    late = [step for step in steps.values() if step.number < last]
    if late:
        raise SchemaMismatch(f"{late[0].number:04}_{late[0].name} comes before what is applied already")
    return State(edition, tuple(steps.values()), tuple(choose(files, edition)), offer, bool(applied))


async def _take_turn(connection: asyncpg.Connection) -> None:
    """
    Wait until no other process migrates.

    By asking again and again: a statement that waits for the lock has a snapshot, for whose end the other one may be
    waiting itself (CREATE INDEX CONCURRENTLY).
    """
    until = time.monotonic() + _LOCK_TIMEOUT_S
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
        if time.monotonic() > until:
            raise AlreadyRunning(
                f"another process has been migrating this database for {_LOCK_TIMEOUT_S} s",
                mend="let it end, or end it (pg_stat_activity shows it as `launch-monitor migrate`), and try again",
            )
        await asyncio.sleep(_LOOK_S)


async def is_moving(connection: asyncpg.Connection) -> bool:
    """Tell whether a move to another edition began and did not end."""
    found: bool = await connection.fetchval(_IS_MOVING)
    return found


def made_by(migrations: Sequence[Migration]) -> re.Pattern[str]:
    """Return what matches the name of each table, view and function that some steps make, those of loops included."""
    names = {name for step in migrations for name in _MADE.findall(step.text)} | {"schema_migrations"}
    return re.compile("|".join(re.sub(r"%(?:\d+\$)?[sI]", "[a-z0-9_]+", name) for name in sorted(names)))


async def _has_ledger(connection: asyncpg.Connection) -> bool:
    columns = await connection.fetchval(_LEDGER_COLUMNS)
    if columns is not None and not {"number", "name", "edition", "checksum"} <= set(columns):
        raise SchemaMismatch("the table schema_migrations is another program's", mend=_OWN_DATABASE)
    return columns is not None


async def _look_before(connection: asyncpg.Connection, state: State, wanted: Edition | None) -> None:
    """Look at a database that has nothing of ours yet, so that the first step is not taken where the last one fails."""
    if wanted is None and state.offer.timescale is None and state.offer.is_preloaded:
        raise SchemaMismatch(
            "the server has TimescaleDB, but this database lacks the extension",
            mend="run CREATE EXTENSION timescaledb in it; to do without, run `launch-monitor migrate --plain`",
        )
    ours = made_by(state.pending)
    names = [row[0] for row in await connection.fetch(_NAMES)]
    foreign = [name for name in names if ours.fullmatch(name) and name != "schema_migrations"]
    if foreign:
        raise SchemaMismatch(
            f"there are tables of other programs by our names: {', '.join(foreign)}", mend=_OWN_DATABASE
        )


async def _apply_one(connection: asyncpg.Connection, migration: Migration, edition: Edition, *, is_first: bool) -> None:
    note = (_NOTE, migration.number, migration.name, edition, migration.checksum)
    try:
        if migration.in_transaction:
            async with connection.transaction():
                if is_first:
                    await connection.execute(_CREATE_LEDGER)
                await connection.execute(migration.text)
                await connection.execute(*note)
        else:
            if is_first:
                await connection.execute(_CREATE_LEDGER)
            for statement in statements(migration.text):
                await _run(connection, statement)
            await connection.execute(*note)
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError, asyncpg.DuplicateFunctionError) as error:
        raise SchemaMismatch(f"{migration.number:04}_{migration.name}: {error}", mend=_OWN_DATABASE) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"PostgreSQL refuses {migration.number:04}_{migration.name}: {error}",
            mend="migrate as the owner of the tables; to make them, a user needs GRANT USAGE, CREATE ON SCHEMA public",
        ) from error
    except asyncpg.FeatureNotSupportedError as error:
        raise SchemaMismatch(
            f"PostgreSQL cannot do {migration.number:04}_{migration.name}: {error}",
            mend=LICENCE_MEND if "license" in str(error) else None,
        ) from error
    except asyncpg.SyntaxOrAccessError as error:
        raise SchemaMismatch(f"{migration.number:04}_{migration.name} failed: {error}") from error


async def _run(connection: asyncpg.Connection, statement: str) -> None:
    if not statement.endswith(_RUN_RESULT):
        await connection.execute(statement)
        return
    for row in await connection.fetch(statement.removesuffix(_RUN_RESULT)):
        for made in filter(None, row):
            await connection.execute(made)


def _log_notice(_: object, message: asyncpg.PostgresLogMessage) -> None:
    log.info("migration_notice", text=str(message))
