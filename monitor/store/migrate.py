r"""
The schema's steps, each applied once, in order and never changed afterwards.

A step is a file `NNNN_name.sql`, or one for each edition: `NNNN_name.plain.sql` and so on. It runs in a transaction
with the note that it was applied, unless its first line is `-- no-transaction`: then its statements (each ends with a
`;` at the end of a line) run one by one, and it must bear being run again from the start if it was cut short. One that
ends with `\gexec` instead returns statements, which then run one by one, as in psql.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import structlog

from monitor.data import data_dir
from monitor.errors import SchemaMismatch, StoreUnavailable
from monitor.store.edition import EDITIONS, detect
from monitor.store.trouble import translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from monitor.store.edition import Edition

log = structlog.get_logger()

NO_TRANSACTION = "-- no-transaction"
_RUN_RESULT = "\\gexec"

_NAME = re.compile(rf"(\d{{4}})_([a-z0-9_]+)(?:\.({'|'.join(EDITIONS)}))?\.sql")
_LOCK_KEY = int.from_bytes(hashlib.sha256(b"launch-monitor migrate").digest()[:8], signed=True)
_LOCK_TIMEOUT_S = 60
_LOOK_S = 0.1

_CREATE_LEDGER = """
CREATE TABLE schema_migrations (
    number     BIGINT PRIMARY KEY,
    name       TEXT NOT NULL,
    edition    TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""
_NOTE = "INSERT INTO schema_migrations (number, name, edition, checksum) VALUES ($1, $2, $3, $4)"
_APPLIED = "SELECT number, name, edition, checksum FROM schema_migrations ORDER BY number"
_HAS_LEDGER = "SELECT to_regclass('schema_migrations') IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step; `edition` None: the same for all."""

    number: int
    name: str
    edition: Edition | None
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
    """The edition that a database's schema was made for, and the steps that it lacks."""

    edition: Edition
    pending: tuple[Migration, ...]


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
            raise SchemaMismatch(f"{path.name} is no name of a migration", mend="NNNN_name[.edition].sql")
        edition = next((known for known in EDITIONS if known == name[3]), None)
        found.append(Migration(int(name[1]), name[2], edition, path.read_text(encoding="utf-8")))
    return found


def choose(migrations: Sequence[Migration], edition: Edition) -> list[Migration]:
    """Return the steps of one edition."""
    return [migration for migration in migrations if migration.edition in (None, edition)]


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


async def apply(connection: asyncpg.Connection, folder: Path | None = None) -> list[Migration]:
    """
    Bring the database's schema up to this program's, and return the steps that it took.

    Two at once do no harm: the second waits for the first, up to a minute.

    Raises:
        SchemaMismatch: If the database is ahead, an applied step was changed, or its tables are not ours.
        StoreUnavailable: If the server does not answer.
    """
    with translated():
        await _take_turn(connection)
        await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_S}s'")
        connection.add_log_listener(_log_notice)
        try:
            if not await connection.fetchval(_HAS_LEDGER):
                await connection.execute(_CREATE_LEDGER)
            state = await find(connection, folder)
            for migration in state.pending:
                await _apply_one(connection, migration, state.edition)
                log.info("migration_applied", number=migration.number, name=migration.name, edition=state.edition)
        finally:
            if not connection.is_closed():
                connection.remove_log_listener(_log_notice)
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)
                await connection.execute("RESET lock_timeout")
    return list(state.pending)


async def find(connection: asyncpg.Connection, folder: Path | None = None) -> State:
    """
    Compare a database with the steps of a folder (None: the program's own).

    Raises:
        SchemaMismatch: If the database is ahead, or an applied step was changed.
    """
    files = read(folder or migrations_dir())
    offered = await detect(connection)
    applied = await connection.fetch(_APPLIED) if await connection.fetchval(_HAS_LEDGER) else []
    edition: Edition = applied[0]["edition"] if applied else offered
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
    return State(edition, tuple(steps.values()))


async def _take_turn(connection: asyncpg.Connection) -> None:
    """
    Wait until no other process migrates.

    By asking again and again: a statement that waits for the lock has a snapshot, for whose end the other one may be
    waiting itself (CREATE INDEX CONCURRENTLY).
    """
    until = time.monotonic() + _LOCK_TIMEOUT_S
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
        if time.monotonic() > until:
            raise StoreUnavailable("another process has been migrating the database for long")
        await asyncio.sleep(_LOOK_S)


async def _apply_one(connection: asyncpg.Connection, migration: Migration, edition: Edition) -> None:
    note = (_NOTE, migration.number, migration.name, edition, migration.checksum)
    try:
        if migration.in_transaction:
            async with connection.transaction():
                await connection.execute(migration.text)
                await connection.execute(*note)
        else:
            for statement in statements(migration.text):
                await _run(connection, statement)
            await connection.execute(*note)
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError) as error:
        raise SchemaMismatch(
            f"{migration.number:04}_{migration.name}: {error}", mend="give launch-monitor a database of its own"
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
