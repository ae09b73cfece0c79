"""The schema is brought forward in steps: each once, none changed, by one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from monitor.errors import ConfigError, SchemaMismatch, StoreUnavailable
from monitor.store import migrate
from monitor.store.edition import EDITIONS
from monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to an empty database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three steps, the second different by edition and the third without a transaction."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id BIGINT);")
    for edition in EDITIONS:
        (tmp_path / f"0002_second.{edition}.sql").write_text(f"CREATE TABLE second_{edition} (id BIGINT);")
    (tmp_path / "0003_third.sql").write_text(
        "-- no-transaction\n-- why\nCREATE INDEX CONCURRENTLY IF NOT EXISTS third ON first (id);\n\nSELECT ';';\n"
    )
    return tmp_path


def numbers(steps: list[migrate.Migration] | tuple[migrate.Migration, ...]) -> list[int]:
    """Return the numbers of some steps."""
    return [step.number for step in steps]


async def test_steps_are_taken_once_and_in_order(connection: asyncpg.Connection, folder: Path) -> None:
    """The second run finds nothing to do; a step that needs it runs outside of a transaction."""
    assert numbers(await migrate.apply(connection, folder)) == [1, 2, 3]
    assert await migrate.apply(connection, folder) == []
    assert await migrate.check(connection, folder) in EDITIONS
    assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE 'second%'") == 1
    assert await connection.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'third'::regclass")


async def test_a_step_may_make_its_statements(connection: asyncpg.Connection, folder: Path) -> None:
    r"""What a statement before `\gexec` returns is run, each outside of a transaction, as psql does."""
    (folder / "0004_fourth.sql").write_text(
        "-- no-transaction\n"
        "SELECT format('CREATE INDEX CONCURRENTLY %I ON first (id)', 'made_' || n), NULL FROM generate_series(1, 2) n\n"
        "\\gexec\n\n"
        "SELECT 'nonsense' WHERE FALSE \\gexec\n"
        "CREATE TABLE fourth (id BIGINT);\n"
    )
    await migrate.apply(connection, folder)
    made = "SELECT count(*) FROM pg_class WHERE relname IN ('made_1', 'made_2', 'fourth')"
    assert await connection.fetchval(made) == 3


async def test_a_new_step_is_pending_until_applied(connection: asyncpg.Connection, folder: Path) -> None:
    """`check` names what is missing and how to mend it."""
    await migrate.apply(connection, folder)
    (folder / "0004_fourth.sql").write_text("CREATE TABLE fourth (id BIGINT);")
    with pytest.raises(SchemaMismatch, match="0004_fourth") as caught:
        await migrate.check(connection, folder)
    assert "migrate" in (caught.value.mend or "")
    assert numbers(await migrate.apply(connection, folder)) == [4]


async def test_an_applied_step_may_not_change(connection: asyncpg.Connection, folder: Path) -> None:
    """Neither `check` nor `apply` goes on when a file is not what was applied."""
    await migrate.apply(connection, folder)
    (folder / "0001_first.sql").write_text("CREATE TABLE first (id TEXT);")
    for call in (migrate.check, migrate.apply):
        with pytest.raises(SchemaMismatch, match="0001_first was changed"):
            await call(connection, folder)


async def test_a_database_ahead_is_refused(connection: asyncpg.Connection, folder: Path) -> None:
    """An older program does not write to a newer schema."""
    await migrate.apply(connection, folder)
    (folder / "0003_third.sql").unlink()
    for call in (migrate.check, migrate.apply):
        with pytest.raises(SchemaMismatch, match="ahead: it has 0003_third"):
            await call(connection, folder)


async def test_no_step_slips_in_before_what_is_applied(connection: asyncpg.Connection, folder: Path) -> None:
    """A step with a number between those applied is a mistake."""
    (folder / "0003_third.sql").rename(folder / "0005_third.sql")
    await migrate.apply(connection, folder)
    (folder / "0004_late.sql").write_text("SELECT 1;")
    with pytest.raises(SchemaMismatch, match="0004_late comes before"):
        await migrate.check(connection, folder)


async def test_a_failing_step_leaves_nothing_behind(connection: asyncpg.Connection, folder: Path) -> None:
    """What came before it stays, and it can be mended."""
    (folder / "0004_bad.sql").write_text("CREATE TABLE fourth (id BIGINT); SELECT nonsense;")
    with pytest.raises(SchemaMismatch, match="0004_bad failed"):
        await migrate.apply(connection, folder)
    assert await connection.fetchval("SELECT to_regclass('fourth')") is None
    (folder / "0004_bad.sql").write_text("CREATE TABLE fourth (id BIGINT);")
    assert numbers(await migrate.apply(connection, folder)) == [4]


async def test_foreign_tables_of_our_names_are_left_alone(connection: asyncpg.Connection, database_url: str) -> None:
    """A database that somebody else uses is refused, and nothing of ours is in it afterwards."""
    await connection.execute("CREATE TABLE tokens (secret TEXT)")
    async with await Store.open(database_url) as store:
        with pytest.raises(SchemaMismatch, match="tokens"):
            await store.migrate()
        with pytest.raises(SchemaMismatch, match="lacks"):
            await store.check()
    assert await connection.fetchval("SELECT to_regclass('mints')") is None


async def test_two_at_once(database_url: str) -> None:
    """The second waits for the first and finds nothing left to do."""

    async def run() -> int:
        async with await Store.open(database_url) as store:
            return len(await store.migrate())

    steps = len(migrate.choose(migrate.read(migrate.migrations_dir()), "plain"))
    assert sorted(await asyncio.gather(*(run() for _ in range(3)))) == [0, 0, steps]


async def test_the_reader_may_read_and_nothing_else(database_url: str, connection: asyncpg.Connection) -> None:
    """It sees tables, views and tables to come, and cannot write."""
    async with await Store.open(database_url) as store:
        await store.migrate()
    await connection.execute("CREATE TABLE later (id BIGINT)")
    await connection.execute("SET ROLE launch_monitor_reader")
    for name in ("tokens", "transactions", "recent_trades", "recent_launches", "graduations", "later"):
        assert await connection.fetch(f"SELECT * FROM {name}") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM tokens")


async def test_without_the_right_to_make_roles_the_reader_is_skipped(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """The schema is made all the same, and the log says what is missing."""
    if await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'launch_monitor_reader')"):
        await connection.execute("DROP OWNED BY launch_monitor_reader")
        await connection.execute("ALTER ROLE launch_monitor_reader RENAME TO launch_monitor_reader_away")
    await connection.execute("CREATE ROLE small NOLOGIN")
    await connection.execute("GRANT ALL ON SCHEMA public TO small")
    try:
        await connection.execute("SET ROLE small")
        with capture_logs() as logs:
            await migrate.apply(connection)
        await migrate.check(connection)
        assert any("launch_monitor_reader is skipped" in str(log.get("text")) for log in logs)
    finally:
        await connection.execute("RESET ROLE")
        await connection.execute("DROP OWNED BY small")
        await connection.execute("DROP ROLE small")
        if await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'launch_monitor_reader_away')"
        ):
            await connection.execute("ALTER ROLE launch_monitor_reader_away RENAME TO launch_monitor_reader")


async def test_no_rights_and_no_database(server_url: str) -> None:
    """A database that is not there, and a server that is not there, are told apart."""
    async with await Store.open(urlunsplit(urlsplit(server_url)._replace(path="/absent"))) as store:
        with pytest.raises(ConfigError, match="absent"):
            await store.check()
    async with await Store.open("postgresql://nobody@127.0.0.1:1/x") as store:
        with pytest.raises(StoreUnavailable):
            await store.migrate()


def test_names_are_checked(tmp_path: Path) -> None:
    """A file that no step is named like is a mistake, not skipped."""
    (tmp_path / "1_first.sql").write_text("SELECT 1;")
    with pytest.raises(SchemaMismatch, match="1_first"):
        migrate.read(tmp_path)


def test_editions_may_share_a_text(tmp_path: Path) -> None:
    """A file may name several editions, and one that names an unknown one is a mistake."""
    (tmp_path / "0001_first.apache-plain.sql").write_text("SELECT 1;")
    (tmp_path / "0001_first.timescale.sql").write_text("SELECT 2;")
    steps = migrate.read(tmp_path)
    assert {edition: [step.text for step in migrate.choose(steps, edition)] for edition in EDITIONS} == {
        "plain": ["SELECT 1;"],
        "apache": ["SELECT 1;"],
        "timescale": ["SELECT 2;"],
    }
    (tmp_path / "0002_second.plain-mysql.sql").write_text("SELECT 1;")
    with pytest.raises(SchemaMismatch, match="0002_second"):
        migrate.read(tmp_path)


def test_every_edition_has_every_number() -> None:
    """Our own steps are complete for each edition, without gaps."""
    steps = migrate.read(migrate.migrations_dir())
    for edition in EDITIONS:
        chosen = numbers(migrate.choose(steps, edition))
        assert chosen == list(range(1, len(chosen) + 1))
