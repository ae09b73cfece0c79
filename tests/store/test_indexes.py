"""Indexes come to tables that are in use: nobody who reads is held up, and what was cut short is done again."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor.errors import StoreUnavailable
from monitor.store import migrate
from monitor.store.batch import Batch
from monitor.store.partitions import Partitions
from monitor.store.store import Store
from tests.store.facts import BLOCK_TIME, trade

if TYPE_CHECKING:
    from pathlib import Path

STEP = 10
TODAY, TOMORROW = BLOCK_TIME, BLOCK_TIME + 86_400
_INSERT = """
INSERT INTO transactions (block_time, slot, chain_order, token_id, pool_id, quote_id, batch_no, base_amount,
    quote_amount, user_quote_amount, nth, order_exact, organic, synthetic, signature, venue, event, side, trader)
SELECT to_timestamp($1), n, n, 1, 1, 1, 1, 3, 4, 5, 0, TRUE, TRUE, FALSE, $2 || n, 'pumpswap', 'SellEvent', 'sell', 'w'
  FROM generate_series(1, 100) n
"""
# Each index of the whole table, and how many valid ones like it are on pieces.
_ALIKE = """
WITH definition AS (
    SELECT i.indrelid, c.relname, i.indisvalid, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '') AS text
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
)
SELECT whole.relname, whole.indisvalid, count(mine.text)
  FROM definition whole
  LEFT JOIN pg_inherits h ON h.inhparent = whole.indrelid
  LEFT JOIN definition mine ON mine.indrelid = h.inhrelid AND mine.text = whole.text AND mine.indisvalid
 WHERE whole.indrelid = 'transactions'::regclass GROUP BY 1, 2
"""


_LAST_PIECE = "SELECT max(inhrelid)::regclass::text FROM pg_inherits WHERE inhparent = 'transactions'::regclass"


async def before(url: str, folder: Path) -> str:
    """Make a database without the step, with rows of two days, and return its edition."""
    for path in migrate.migrations_dir().glob("*.sql"):
        if int(path.name[:4]) < STEP:
            shutil.copy(path, folder)
    connection = await asyncpg.connect(url)
    await migrate.apply(connection, folder)
    edition = await migrate.check(connection, folder)
    if edition == "plain":
        await Partitions().ensure(connection, [trade_time(TODAY), trade_time(TOMORROW)])
    for at in (TODAY, TOMORROW):
        await connection.execute(_INSERT, at, "a")
    await connection.close()
    return edition


def trade_time(at: int) -> datetime:
    """Return a time as PostgreSQL has it."""
    return datetime.fromtimestamp(at, UTC)


async def pieces(connection: asyncpg.Connection) -> int:
    """Return how many partitions or chunks there are."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'transactions'::regclass"
    )
    return count


async def whole(connection: asyncpg.Connection) -> set[str]:
    """Return the indexes of `transactions`, which all are valid and on every piece."""
    count = await pieces(connection)
    found = await connection.fetch(_ALIKE)
    assert [row[0] for row in found if (row[1], row[2]) != (True, count)] == []
    return {row[0] for row in found}


async def test_a_live_table_gets_its_indexes(database_url: str, tmp_path: Path) -> None:
    """Pieces that are there get them, and so do those to come, whatever makes them."""
    await before(database_url, tmp_path)
    async with await Store.open(database_url) as store:
        await store.migrate()
        connection = await asyncpg.connect(database_url)
        assert {"transactions_trader", "transactions_pool_id"} <= await whole(connection)
        had = await pieces(connection)
        await store.lock()
        await store.write(Batch([trade(block_time=BLOCK_TIME + 9 * 86_400)]))
        assert await pieces(connection) > had
        await whole(connection)
        await connection.close()


async def test_who_reads_goes_on_and_what_was_killed_is_done_again(database_url: str, tmp_path: Path) -> None:
    """On plain PostgreSQL who writes goes on as well. A build that ended half-way is taken down and begun anew."""
    edition = await before(database_url, tmp_path)
    holder, other = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    # A long query holds a concurrent build back; TimescaleDB's waits for who writes to the chunk.
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await holder.fetch("SELECT FROM transactions")
    if edition != "plain":
        await holder.execute(f"LOCK TABLE {await holder.fetchval(_LAST_PIECE)} IN ROW EXCLUSIVE MODE")
    async with await Store.open(database_url) as store:
        migrating = asyncio.create_task(store.migrate())
        while not await other.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            pass
        await other.execute("SET lock_timeout = '2s'")
        assert await other.fetchval("SELECT count(*) FROM transactions") == 200
        if edition == "plain":
            await other.execute(_INSERT, TODAY, "c")
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'launch-monitor migrate'"
            " AND datname = current_database()"
        )
        with pytest.raises(StoreUnavailable):
            await migrating
        assert await other.fetchval("SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)")
        await holder.execute("COMMIT")
        assert [step.number for step in await store.migrate()][:1] == [STEP]
    assert {"transactions_trader", "transactions_pool_id"} <= await whole(other)
    assert not await other.fetchval("SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)")
    await holder.close()
    await other.close()
