"""Whatever happens to the connection: nothing is lost, nothing is doubled, and only one writes."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor.errors import AlreadyRunning, LockLost, SchemaMismatch, StoreUnavailable, StoreWentBack
from monitor.store.batch import Batch, Hole, Progress, Settled
from monitor.store.store import Store
from monitor.store.trouble import translate
from tests.store.facts import SIGNATURE, SLOT, fault, launch, trade
from tests.store.wire import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from decoders.core.types import Fact
    from monitor.store.batch import Written
    from tests.store.wire import Cut, Wire

FACTS: list[Fact] = [launch(), trade(), fault()]


@pytest.fixture
async def cut(database_url: str) -> AsyncIterator[tuple[Wire, Store]]:
    """A store behind a wire."""
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


async def written(store: Store, batch: Batch) -> Written:
    """Repeat a batch as the daemon does and return what came of it."""
    for _ in range(100):
        try:
            return await store.write(batch)
        except StoreUnavailable:
            await asyncio.sleep(0)
    raise AssertionError("the database did not come back")


async def write_until_done(store: Store, batch: Batch) -> int:
    """Repeat a batch as the daemon does and return how many of its facts were new."""
    return len((await written(store, batch)).new)


async def locked(store: Store) -> None:
    """Return once the store has the lock."""
    while True:
        if await store.try_lock():
            return


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
        while True:
            try:
                await store.write(Batch([trade(signature="other")]))
            except StoreUnavailable:
                continue
            except LockLost:
                break
        with pytest.raises(AlreadyRunning) as caught:
            await store.write(Batch([trade(signature="other")]))
        assert type(caught.value) is AlreadyRunning


async def test_what_another_writer_did_is_seen(store: Store, sql: asyncpg.Connection, database_url: str) -> None:
    """It wrote while we were away, and undid a trade that we remember: told again, the trade is new."""
    await store.write(Batch([trade()]))
    await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
    async with await Store.open(database_url) as standby:
        await locked(standby)
        told = await standby.write(Batch(settled=[Settled(slot=SLOT, signatures=())]))
        assert [fact.signature for fact in told.voided] == [SIGNATURE]
    assert await write_until_done(store, Batch([trade()])) == 1


@pytest.mark.parametrize(
    "lost", [Batch([trade(signature="lost")]), Batch(holes=[Hole(first_slot=1, last_slot=2, reason="feed_away")])]
)
async def test_a_replica_that_lacks_what_was_committed_ends_the_writer(
    store: Store, sql: asyncpg.Connection, lost: Batch
) -> None:
    """It was promoted before it had got everything: the next progress would pass over what is missing."""
    await store.write(Batch([trade()]))
    await store.write(lost)
    await store.write(Batch(progress=[Progress(feed="logs", slot=5)]))
    await sql.execute("DELETE FROM batches WHERE id = $1", lost.batch_id)
    await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
    for _ in range(2):
        with pytest.raises(StoreWentBack) as caught:
            await written(store, Batch(progress=[Progress(feed="logs", slot=6)]))
        assert caught.value.exit_code == 75
    assert await sql.fetchval("SELECT slot FROM feeds") == 5


async def test_a_batch_that_nobody_keeps_any_more_is_not_missed(
    store: Store, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wrote so much while we were away that ours was trimmed; and what has no row was never there."""
    await store.write(Batch([trade()]))
    await store.write(Batch(progress=[Progress(feed="logs", slot=5)]))
    await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
    await written(store, Batch(progress=[Progress(feed="logs", slot=6)]))
    monkeypatch.setattr("monitor.store.store.KEPT_BATCHES", 10)
    await sql.execute("DELETE FROM batches")
    await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
    await written(store, Batch(progress=[Progress(feed="logs", slot=7)]))
    assert await sql.fetchval("SELECT slot FROM feeds") == 7


async def test_a_schema_that_moves_on_ends_the_writer(store: Store, sql: asyncpg.Connection) -> None:
    """Somebody migrated while we ran: the batch is not committed, and the message says which step."""
    await store.write(Batch([trade()]))
    await sql.execute(
        "INSERT INTO schema_migrations (number, name, edition, checksum) SELECT 9999, 'later', edition, '' "
        "FROM schema_migrations LIMIT 1"
    )
    with pytest.raises(SchemaMismatch, match="9999"):
        await store.write(Batch([trade(signature="other")]))
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 1
    await sql.execute("SELECT pg_terminate_backend($1)", store._writing_pid)
    with pytest.raises(SchemaMismatch, match="ahead"):
        await write_until_done(store, Batch([trade(signature="other")]))


async def test_a_void_of_unknown_outcome_is_told_once(cut: tuple[Wire, Store], sql: asyncpg.Connection) -> None:
    """The connection breaks after the commit of a settled slot: repeated, it still says what vanished."""
    link, store = cut
    await store.write(Batch([trade()]))
    batch = Batch(settled=[Settled(slot=SLOT, signatures=())])
    link.cut = "after"
    with pytest.raises(StoreUnavailable):
        await store.write(batch)
    link.cut = None
    assert [fact.signature for fact in (await written(store, batch)).voided] == [SIGNATURE]
    assert await sql.fetchval("SELECT count(*) FROM transactions WHERE voided_at IS NULL") == 0


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
        (asyncpg.QueryCanceledError("x"), StoreUnavailable),
        (asyncpg.PostgresIOError("x"), StoreUnavailable),
        (asyncpg.OutOfMemoryError("x"), StoreUnavailable),
        (asyncpg.StatementCompletionUnknownError("x"), StoreUnavailable),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), StoreUnavailable),
        (asyncpg.InvalidCachedStatementError("x"), StoreUnavailable),
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
    bugs = (asyncpg.PostgresSyntaxError, asyncpg.InternalServerError, asyncpg.UndefinedFileError)
    assert [translate(kind("bug")) for kind in (*bugs, asyncpg.DataCorruptedError)] == [None] * 4


@pytest.mark.parametrize(
    ("error", "words"),
    [(asyncpg.DiskFullError("x"), "disk is full"), (asyncpg.TooManyConnectionsError("x"), "connection")],
)
def test_trouble_is_told_in_plain_words(error: Exception, words: str) -> None:
    """An operator reads in one line what to do, with the SQLSTATE."""
    text = str(translate(error))
    assert words in text
    assert str(getattr(error, "sqlstate", "")) in text
