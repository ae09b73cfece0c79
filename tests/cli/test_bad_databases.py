"""A database that cannot be ours is refused with what mends it, by exit code 78, and nothing of ours is left in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from monitor.config import ENVIRONMENT
from monitor.store import edition, migrate
from monitor.store.store import Store
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Ran

WRONG = 78
TRY_AGAIN = 75
_OBJECTS = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
 UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
 UNION ALL SELECT nspname::text FROM pg_namespace
"""
_LAST = "SELECT name FROM schema_migrations ORDER BY number DESC LIMIT 1"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A server for all tests here."""
    with postgres.start() as server:
        yield server


@pytest.fixture
async def url(server: postgres.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database, which commands find."""
    for name in list(os.environ):
        if name.startswith(ENVIRONMENT):
            monkeypatch.delenv(name)
    monkeypatch.setenv(f"{ENVIRONMENT}EMBEDDED__STATE_DIR", str(tmp_path / "state"))
    async with server.database() as url:
        monkeypatch.setenv(f"{ENVIRONMENT}DATABASE__URL", url)
        yield url


@pytest.fixture
async def sql(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to it."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
def call(command: Callable[..., Ran]) -> Callable[..., Any]:
    """Return how to run a command from within a loop."""

    async def call(*arguments: str) -> Ran:
        return await asyncio.to_thread(command, *arguments)

    return call


async def objects(sql: asyncpg.Connection) -> list[str]:
    """Return the names of whatever is in the database."""
    return sorted(row[0] for row in await sql.fetch(_OBJECTS))


def refused(ran: Ran, cause: str, mend: str, code: int = WRONG) -> None:
    """Assert how a command ended: one cause, what mends it, and no word of a bug."""
    assert (ran.code, ran.out) == (code, "")
    lines = [line for line in ran.errors.splitlines() if line.startswith(("error: ", "  mend: "))]
    assert len(lines) == 2, ran.errors
    assert cause in lines[0]
    assert mend in lines[1]


async def migrated(url: str) -> None:
    """Give a database our schema."""
    async with await Store.open(url) as store:
        await store.migrate()


@contextlib.asynccontextmanager
async def role(sql: asyncpg.Connection, url: str) -> AsyncIterator[str]:
    """Yield the address of the database for somebody without rights."""
    name = f"small_{uuid.uuid4().hex}"
    await sql.execute(f"CREATE ROLE {name} LOGIN")
    try:
        there = urlsplit(url)
        yield urlunsplit(there._replace(netloc=f"{name}@{there.netloc.rpartition('@')[2]}"))
    finally:
        await sql.execute(f"DROP OWNED BY {name}")
        await sql.execute(f"DROP ROLE {name}")


async def test_no_right_to_make_tables(
    url: str, sql: asyncpg.Connection, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may connect and no more."""
    before = await objects(sql)
    async with role(sql, url) as theirs:
        monkeypatch.setenv(f"{ENVIRONMENT}DATABASE__URL", theirs)
        refused(await call("migrate"), "permission denied for schema public", "GRANT USAGE, CREATE ON SCHEMA")
        assert await objects(sql) == before


async def test_no_right_to_change_tables(
    url: str, sql: asyncpg.Connection, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema of the last release that belongs to somebody else: it stays of the last release."""
    await migrated(url)
    last = await sql.fetchval(_LAST)
    await sql.execute("DELETE FROM schema_migrations WHERE name = $1", last)
    before = await objects(sql)
    async with role(sql, url) as theirs:
        monkeypatch.setenv(f"{ENVIRONMENT}DATABASE__URL", theirs)
        refused(await call("migrate"), "permission denied for table schema_migrations", "grant the rights")
        name = urlsplit(theirs).netloc.split("@")[0]
        await sql.execute(f"GRANT SELECT, INSERT ON schema_migrations TO {name}")
        ran = await call("migrate")
        assert ran.code == WRONG
        assert "  mend: " in ran.errors
        assert await objects(sql) == before


async def test_a_server_that_is_too_old(
    url: str, sql: asyncpg.Connection, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this program wanted a newer one than there is."""
    before = await objects(sql)
    monkeypatch.setattr(edition, "OLDEST_POSTGRESQL", 1000)
    refused(await call("migrate"), "is too old", "use PostgreSQL 1000 or later")
    assert await objects(sql) == before


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE tokens (id BIGINT, colour TEXT)",
        "CREATE VIEW graduations AS SELECT 1 AS year",
        "CREATE MATERIALIZED VIEW requests AS SELECT 1 AS id",
        "CREATE TABLE schema_migrations (version TEXT PRIMARY KEY)",
    ],
    ids=["first step", "view of a later step", "table of a later step", "another program's steps"],
)
async def test_another_programs_schema(url: str, sql: asyncpg.Connection, call: Callable[..., Any], made: str) -> None:
    """One name is enough, be it that of the last step: not even the first step is taken."""
    await sql.execute(made)
    before = await objects(sql)
    refused(await call("migrate"), "program", "give launch-monitor a database of its own")
    assert await objects(sql) == before


async def test_a_downgrade(url: str, sql: asyncpg.Connection, call: Callable[..., Any]) -> None:
    """A newer release was here."""
    await migrated(url)
    await sql.execute("INSERT INTO schema_migrations SELECT 9999, 'later', edition, '' FROM schema_migrations LIMIT 1")
    before = await objects(sql)
    for arguments in (
        ["migrate"],
        ["migrate", "--check"],
        ["ingest", "--endpoint", "ws://127.0.0.1:1,http://127.0.0.1:1"],
    ):
        ran = await call(*arguments)
        assert ran.code == WRONG
        assert "the database is ahead: it has 9999_later" in ran.errors
        assert "mend: run a newer launch-monitor" in ran.errors
    assert await objects(sql) == before


async def test_timescale_is_gone(url: str, sql: asyncpg.Connection, call: Callable[..., Any]) -> None:
    """A schema that was made for it, on a server that has none: a dump was restored without it."""
    await migrated(url)
    await sql.execute("UPDATE schema_migrations SET edition = 'apache'")
    refused(await call("migrate"), "made for TimescaleDB (edition apache)", "CREATE EXTENSION timescaledb")


@pytest.mark.parametrize(
    ("version", "cause", "mend"),
    [
        ("2.11.2", "TimescaleDB 2.11.2 is too old", "install 2.19 or later"),
        ("2.19.3", "started without it", "shared_preload_libraries"),
    ],
)
async def test_timescale_is_not_as_it_must_be(
    url: str, sql: asyncpg.Connection, call: Callable[..., Any], version: str, cause: str, mend: str
) -> None:
    """The extension is in the catalog, too old, or of a server that loads it no more."""
    await sql.execute("SET allow_system_table_mods = on")
    await sql.execute(
        f"INSERT INTO pg_extension VALUES (99999, 'timescaledb', 10, 2200, FALSE, '{version}', NULL, NULL)"
    )
    before = await objects(sql)
    refused(await call("migrate"), cause, mend)
    assert await objects(sql) == before
    await sql.execute("DELETE FROM pg_extension WHERE oid = 99999")


async def test_to_timescale_without_it(url: str, sql: asyncpg.Connection, call: Callable[..., Any]) -> None:
    """The server has none at all: the mend begins with that."""
    before = await objects(sql)
    refused(await call("migrate", "--to-timescale"), "lacks the extension timescaledb", "install TimescaleDB")
    assert await objects(sql) == before


async def test_options_that_exclude_each_other(url: str, call: Callable[..., Any]) -> None:
    """One thing at a time."""
    refused(await call("migrate", "--check", "--to-timescale"), "exclude each other", "give one of them", 64)


async def test_two_at_once(url: str, sql: asyncpg.Connection) -> None:
    """Both end well, as processes of their own: one did it, the other waited."""
    both = [
        await asyncio.create_subprocess_exec(sys.executable, "-m", "monitor", "migrate", stdout=-1, stderr=-1)
        for _ in range(2)
    ]
    outs = [(await one.communicate())[0].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted("applied 0001_tables" in out for out in outs) == [False, True]
    assert await sql.fetchval("SELECT count(*) = count(DISTINCT number) FROM schema_migrations")


async def test_somebody_else_migrates_for_long(
    url: str, sql: asyncpg.Connection, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is worth another try: the service manager makes one."""
    before = await objects(sql)
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT_S", 0.05)
    await sql.execute("SELECT pg_advisory_lock($1)", migrate._LOCK_KEY)
    refused(await call("migrate"), "has been migrating this database for 0.05 s", "let it end", TRY_AGAIN)
    assert await objects(sql) == before
    await sql.execute("SELECT pg_advisory_unlock_all()")
    assert (await call("migrate")).code == 0


async def test_cut_short_outside_of_a_transaction(
    url: str, sql: asyncpg.Connection, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A step of many statements ends between two of them: the database is not taken for done, and the next run is."""
    folder = tmp_path / "steps"
    shutil.copytree(migrate.migrations_dir(), folder)
    await migrated(url)
    step = folder / f"{len(migrate.choose(migrate.read(folder), 'plain')) + 1:04}_long.sql"
    step.write_text(
        "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS long_one ON faults (seen_at);\nSELECT nonsense;\n"
    )
    monkeypatch.setattr(migrate, "migrations_dir", lambda: folder)
    ran = await call("migrate")
    assert (ran.code, "_long failed" in ran.errors) == (WRONG, True)
    assert await sql.fetchval("SELECT to_regclass('long_one') IS NOT NULL")
    refused(await call("migrate", "--check"), "the database lacks", "run `launch-monitor migrate`")
    step.write_text(step.read_text().replace("SELECT nonsense", "SELECT 1"))
    assert "_long" in (await call("migrate")).out
    assert (await call("migrate", "--check")).code == 0
