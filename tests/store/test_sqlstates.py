"""Trouble of a single batch, made by a real server: it passes, and the batch is written once when it is repeated."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from monitor.errors import StoreUnavailable
from monitor.store.batch import Batch, Progress
from monitor.store.store import _WRITER_SETTINGS, Store
from monitor.store.trouble import translate
from tests.chaos import servers
from tests.store.facts import trade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 20
_WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'launch-monitor write'"


@pytest.fixture
async def other(database_url: str, store: Store) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Somebody else at work in the database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def blocked(other: asyncpg.Connection[Any]) -> None:
    """Return once somebody waits for a lock."""
    async with asyncio.timeout(PATIENCE_S):
        while not await other.fetchval(_WAITING):
            pass


async def stored(store: Store, other: asyncpg.Connection[Any], batch: Batch) -> int:
    """Repeat a batch; return how many trades and batches there are, which must be as many."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await store.write(batch)
                break
            except StoreUnavailable:
                await asyncio.sleep(0)
    trades = int(await other.fetchval("SELECT count(*) FROM transactions"))
    assert trades == await other.fetchval("SELECT count(*) FROM batches")
    return trades


async def writing(store: Store) -> asyncpg.Connection[Any]:
    """Return the connection that writes."""
    await store.lock()
    assert store._writing is not None
    return store._writing


@pytest.mark.parametrize(("setting", "state"), [("lock_timeout", "55P03"), ("statement_timeout", "57014")])
async def test_timeouts_of_the_server(store: Store, other: asyncpg.Connection[Any], setting: str, state: str) -> None:
    """Somebody holds a table for longer than the server lets us wait."""
    await (await writing(store)).execute(f"SET {setting} = '50ms'")
    async with other.transaction():
        await other.execute("LOCK TABLE tokens")
        with pytest.raises(StoreUnavailable, match=state):
            await store.write(Batch([trade()]))
    assert await stored(store, other, Batch([trade()])) == 1


async def test_a_deadlock(store: Store, other: asyncpg.Connection[Any]) -> None:
    """We have what somebody waits for, who has what we wait for: the server ends us, and he goes on."""
    await store.write(Batch([], progress=[Progress(feed="logs", slot=1)]))
    # The server looks once, so long after our wait began: by then the other one waits as well.
    await (await writing(store)).execute("SET deadlock_timeout = '2s'")
    await other.execute("SET deadlock_timeout = '1h'")
    batch = Batch([trade()], progress=[Progress(feed="logs", slot=2)])
    async with asyncio.timeout(PATIENCE_S), other.transaction():
        await other.execute("LOCK TABLE feeds")
        ours = asyncio.create_task(store.write(batch))
        locking = asyncio.create_task(_lock_what_is_written(other))
        with pytest.raises(StoreUnavailable, match="40P01"):
            await ours
        await locking
    assert await stored(store, other, batch) == 1


async def _lock_what_is_written(other: asyncpg.Connection[Any]) -> None:
    await blocked(other)
    await other.execute("LOCK TABLE transactions")


async def test_a_serialization_failure(store: Store, other: asyncpg.Connection[Any]) -> None:
    """Where the database's default is serializable, a row that changed under us is no reason to end."""
    await store.write(Batch([], progress=[Progress(feed="logs", slot=1)]))
    await (await writing(store)).execute("SET default_transaction_isolation = 'serializable'")
    batch = Batch([trade()], progress=[Progress(feed="logs", slot=3)])
    async with asyncio.timeout(PATIENCE_S):
        async with other.transaction():
            await other.execute("UPDATE feeds SET slot = 2")
            ours = asyncio.create_task(store.write(batch))
            await blocked(other)
        with pytest.raises(StoreUnavailable, match="40001"):
            await ours
    assert await stored(store, other, batch) == 1
    assert await other.fetchval("SELECT slot FROM feeds") == 3


async def test_killed_in_the_middle_of_a_batch(store: Store, other: asyncpg.Connection[Any]) -> None:
    """An administrator ends our session while it writes."""
    async with asyncio.timeout(PATIENCE_S), other.transaction():
        await other.execute("LOCK TABLE tokens")
        ours = asyncio.create_task(store.write(Batch([trade()])))
        await blocked(other)
        await other.execute(_TERMINATE)
        with pytest.raises(StoreUnavailable):
            await ours
    assert await stored(store, other, Batch([trade()])) == 1


async def test_a_server_that_may_be_written_to_again(
    store: Store, other: asyncpg.Connection[Any], database_url: str
) -> None:
    """Nobody has to end the connection that was made while it was read-only: it may lead to a former primary."""
    name = await other.fetchval("SELECT current_database()")
    await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await other.execute(_TERMINATE)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with pytest.raises(StoreUnavailable) as caught:
                await store.write(Batch([trade()]))
            if "25006" in str(caught.value):
                break
    await other.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert await stored(store, other, Batch([trade()])) == 1


def test_what_uvloop_calls_a_connection_that_is_gone() -> None:
    """It has an error of its own for that, which asyncpg does not know; its others are bugs."""
    gone = RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
    assert isinstance(translate(gone), StoreUnavailable)
    assert translate(RuntimeError("await wasn't used with future")) is None


@pytest.mark.slow
async def test_a_lost_machine_gives_the_lock_back() -> None:
    """Over TCP the server looks after the writer's connection often enough for a standby to take over in a minute."""
    with servers.start() as server:
        async with await Store.open(server.url("postgres")) as store:
            await store.migrate()
            connection = await writing(store)
            told = {name: await connection.fetchval(f"SHOW {name}") for name in _WRITER_SETTINGS if "tcp" in name}
    assert told == {
        "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4",
        "tcp_user_timeout": "30000",
    }  # fmt: skip
