"""Upkeep goes on beside the writing, whatever fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.errors import StoreUnavailable, UpkeepFailed
from monitor.store.batch import Batch
from monitor.store.lifecycle import Rules
from monitor.upkeep import Upkeep, make_candles
from tests.store.facts import trade
from tests.store.standin import Counting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import asyncpg

    from monitor.store.store import Store

START = datetime(2024, 3, 1, tzinfo=UTC)
_UPKEEP_PIDS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'launch-monitor upkeep' AND datname = current_database()"
)


@pytest.fixture
async def candles(sql: asyncpg.Connection) -> Counting:
    """What makes candles."""
    counting = Counting()
    await counting.make(sql)
    return counting


@asynccontextmanager
async def running(upkeep: Upkeep) -> AsyncIterator[None]:
    """Let it run until the block ends; it must not have ended by itself."""
    task = asyncio.create_task(upkeep.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(sql: asyncpg.Connection, is_so: Callable[[], bool]) -> None:
    """Ask the database for nothing until something is so."""
    async with asyncio.timeout(60):
        while not is_so():
            await sql.execute("SELECT")


async def test_it_goes_on_whatever_fails(store: Store, sql: asyncpg.Connection, candles: Counting) -> None:
    """Sessions that are ended, and tables that are not there for a while: it counts that, and does the rest later."""
    at = [START, START + timedelta(days=200)]
    await store.write(Batch([trade(block_time=int(time.timestamp()), signature=f"{time}") for time in at]))
    upkeep = Upkeep(store, Rules(), candles, refresh_every_s=0.01, tend_every_s=0.01)
    await sql.execute("ALTER TABLE stale_candles RENAME TO elsewhere")
    async with running(upkeep):
        await until(sql, lambda: min(upkeep.tally.failures.values()) > 1)
        assert await sql.fetchval("SELECT count(*) FROM transactions") == 2
        await sql.execute("ALTER TABLE elsewhere RENAME TO stale_candles")
        await until(sql, lambda: upkeep.tally.dropped_pieces == 1)
        failures, refreshed = upkeep.tally.failures.total(), candles.refreshed
        for (pid,) in await sql.fetch(_UPKEEP_PIDS):
            await sql.execute("SELECT pg_terminate_backend($1)", pid)
        await until(sql, lambda: upkeep.tally.failures.total() >= failures + 2 and candles.refreshed > refreshed + 2)
        assert len((await store.write(Batch([trade(block_time=int(at[1].timestamp()), signature="new")]))).new) == 1
    assert upkeep.tally.trades_from == (START + timedelta(days=200 - 89)).timestamp()
    assert await sql.fetchval("SELECT sum(trades) FROM counted") >= 2


async def test_marks_are_told(store: Store, sql: asyncpg.Connection, candles: Counting) -> None:
    """How many wait, and since when."""
    candles.is_lazy = True
    upkeep = Upkeep(store, Rules(), candles)
    await sql.execute(
        "INSERT INTO stale_candles (first_time, last_time, marked_at) "
        "VALUES ($1, $1, now() - INTERVAL '1 hour'), ($1, $1, now())",
        START,
    )
    async with store.upkeep() as connection:
        await upkeep.refresh(connection)
        assert upkeep.tally.marks == 2
        assert 3600 <= upkeep.tally.oldest_mark_age_s < 3700
        await sql.execute("DELETE FROM stale_candles")
        await upkeep.refresh(connection)
    assert (upkeep.tally.marks, upkeep.tally.oldest_mark_age_s) == (0, 0)


async def test_who_wrote_and_ends_makes_the_candles(store: Store, sql: asyncpg.Connection, candles: Counting) -> None:
    """A replay moves no horizon, and drops nothing."""
    at = [START, START + timedelta(days=200)]
    await store.write(Batch([trade(block_time=int(time.timestamp()), signature=f"{time}") for time in at]))
    await make_candles(store, candles)
    assert await sql.fetchval("SELECT sum(trades) FROM counted") == 2
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 2
    assert await sql.fetchval("SELECT trades_from FROM lifecycle") is None


async def test_what_the_server_refuses_is_told(store: Store) -> None:
    """In our words where we have some, in its own otherwise."""
    with pytest.raises(UpkeepFailed, match="division by zero"):
        async with store.upkeep() as connection:
            await connection.fetchval("SELECT 1 / 0")
    with pytest.raises(StoreUnavailable):
        async with store.upkeep() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
