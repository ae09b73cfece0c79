"""Whatever happens to the connection: nothing is lost, nothing is doubled, and only one writes."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor.errors import AlreadyRunning, SchemaMismatch, StoreUnavailable
from monitor.store.batch import Batch, Progress
from monitor.store.store import Store
from monitor.store.trouble import translate
from tests.store.facts import fault, launch, trade
from tests.store.wire import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from decoders.core.types import Fact
    from tests.store.wire import Cut, Wire

FACTS: list[Fact] = [launch(), trade(), fault()]


@pytest.fixture
async def cut(database_url: str) -> AsyncIterator[tuple[Wire, Store]]:
    """A store behind a wire."""
    if "host=" not in database_url:
        pytest.skip("the wire speaks to a unix socket")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        async with wire(database_url, Path(folder)) as (link, url), await Store.open(url) as store:
            await store.migrate()
            await store.lock()
            yield link, store


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection to the database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def write_until_done(store: Store, batch: Batch) -> int:
    """Repeat a batch as the daemon does and return how many of its facts were new."""
    for _ in range(100):
        try:
            return len((await store.write(batch)).new)
        except StoreUnavailable:
            await asyncio.sleep(0)
    raise AssertionError("the database did not come back")


async def waiting(sql: asyncpg.Connection) -> None:
    """Return once somebody waits for a lock."""
    while True:
        if await sql.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            return


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_commit_of_unknown_outcome_is_looked_up(
    cut: tuple[Wire, Store], sql: asyncpg.Connection, where: Cut
) -> None:
    """The connection breaks at COMMIT; whether or not the server did it, the facts are there once and counted once."""
    link, store = cut
    batch = Batch(FACTS, progress=[Progress(feed="logs", slot=5)])
    link.cut = where
    with pytest.raises(StoreUnavailable):
        await store.write(batch)
    link.cut = None
    assert await write_until_done(store, batch) == len(FACTS)
    assert await sql.fetchval("SELECT count(*) FROM batches") == 1
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 1
    assert await sql.fetchval("SELECT slot FROM feeds") == 5
    assert len((await store.write(Batch(FACTS))).duplicates) == len(FACTS)


async def test_another_batch_after_an_unknown_outcome(cut: tuple[Wire, Store], sql: asyncpg.Connection) -> None:
    """The caller may go on with another batch: what was committed is still known to be."""
    link, store = cut
    link.cut = "after"
    with pytest.raises(StoreUnavailable):
        await store.write(Batch([trade()]))
    link.cut = None
    assert await write_until_done(store, Batch([trade(), trade(signature="other")])) == 1
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 2


async def test_a_killed_connection_is_replaced(store: Store, sql: asyncpg.Connection) -> None:
    """The server ends our connection between two batches."""
    await store.write(Batch([trade()]))
    await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
    assert await write_until_done(store, Batch([trade(), trade(signature="other")])) == 1


async def test_a_cancelled_write_can_be_repeated(store: Store, sql: asyncpg.Connection) -> None:
    """A stop in the middle of a batch leaves nothing half done."""
    await sql.execute("BEGIN")
    await sql.execute("LOCK TABLE tokens")
    batch = Batch(FACTS)
    writing = asyncio.create_task(store.write(batch))
    await waiting(sql)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await sql.execute("ROLLBACK")
    assert await write_until_done(store, batch) == len(FACTS)


async def test_one_writer_at_a_time(store: Store, database_url: str) -> None:
    """A second one is told who holds the lock, reads all the same, and takes over when the first is gone."""
    async with await Store.open(database_url) as standby:
        with pytest.raises(AlreadyRunning, match=str(store._writing_pid)):
            await standby.lock()
        with pytest.raises(AlreadyRunning):
            await standby.write(Batch([trade()]))
        assert (await standby.status()).launches == 0
        await store.close()
        assert await write_until_done(standby, Batch([trade()])) == 1


async def test_a_writer_that_was_replaced_ends(store: Store, sql: asyncpg.Connection, database_url: str) -> None:
    """Its connection died, a standby took over: it does not write beside it."""
    await store.write(Batch([trade()]))
    await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
    async with await Store.open(database_url) as standby:
        while True:
            try:
                await standby.lock()
                break
            except AlreadyRunning:
                await asyncio.sleep(0)
        with pytest.raises((AlreadyRunning, StoreUnavailable)):
            await store.write(Batch([trade(signature="other")]))
        with pytest.raises(AlreadyRunning):
            await store.write(Batch([trade(signature="other")]))


async def test_somebody_else_writing_is_noticed(store: Store, sql: asyncpg.Connection) -> None:
    """Rows that come from nowhere between two looks end the writer, not the rows."""
    await store.write(Batch([trade()]))
    await sql.execute("""
        CREATE FUNCTION copy_it() RETURNS TRIGGER LANGUAGE plpgsql AS $$
        BEGIN RAISE unique_violation; END $$""")
    await sql.execute("CREATE TRIGGER t BEFORE INSERT ON tokens FOR EACH STATEMENT EXECUTE FUNCTION copy_it()")
    with pytest.raises(AlreadyRunning):
        await store.write(Batch([trade(mint="other", signature="other")]))


async def test_a_read_only_server_is_transient(store: Store, sql: asyncpg.Connection) -> None:
    """A standby or a full disk: the batch waits."""
    await sql.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await sql.execute("SELECT pg_reload_conf()")
    try:
        await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.write(Batch([trade()]))
    finally:
        await sql.execute("SET default_transaction_read_only = off")
        await sql.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await sql.execute("SELECT pg_reload_conf()")
    await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
    assert await write_until_done(store, Batch([trade()])) == 1


async def test_a_schema_behind_is_refused(database_url: str) -> None:
    """Without our tables nothing is written."""
    async with await Store.open(database_url) as store:
        with pytest.raises(SchemaMismatch):
            await store.lock()


async def test_a_table_that_vanished_is_a_mismatch(store: Store, sql: asyncpg.Connection) -> None:
    """Somebody changed the schema under a running writer."""
    await sql.execute("ALTER TABLE batches RENAME TO gone")
    with pytest.raises(SchemaMismatch):
        await store.write(Batch([trade()]))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.SerializationError("x"), StoreUnavailable),
        (asyncpg.DeadlockDetectedError("x"), StoreUnavailable),
        (asyncpg.LockNotAvailableError("x"), StoreUnavailable),
        (asyncpg.ReadOnlySQLTransactionError("x"), StoreUnavailable),
        (asyncpg.TooManyConnectionsError("x"), StoreUnavailable),
        (asyncpg.DiskFullError("x"), StoreUnavailable),
        (asyncpg.AdminShutdownError("x"), StoreUnavailable),
        (asyncpg.CannotConnectNowError("x"), StoreUnavailable),
        (asyncpg.ConnectionDoesNotExistError("x"), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (ConnectionRefusedError(111, "refused"), StoreUnavailable),
        (asyncpg.UndefinedTableError("x"), SchemaMismatch),
        (asyncpg.UndefinedColumnError("x"), SchemaMismatch),
    ],
)
def test_errors_are_translated(error: Exception, kind: type[Exception]) -> None:
    """Each kind of trouble is ours under one name, with its SQLSTATE in the text."""
    assert type(translate(error)) is kind


def test_bugs_are_not_translated() -> None:
    """What is wrong with us ends the process loudly."""
    assert translate(ValueError("bug")) is None
    assert translate(asyncpg.PostgresSyntaxError("bug")) is None
