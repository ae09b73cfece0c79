"""A database of an earlier release, with data in it, is brought forward and goes on as if it had always been so."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor.errors import SchemaMismatch
from monitor.store import migrate
from monitor.store.batch import Batch, Settled
from monitor.store.store import Store
from monitor.store.trouble import translated
from tests.store.facts import BLOCK_TIME, CURVE, MINT, POOL, SLOT, TRADER, swap, trade

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.store.edition import Edition

LAST_OF_0_1 = 5

_PARTITION = """
CREATE TABLE transactions_p20260921 PARTITION OF transactions
    FOR VALUES FROM ('2026-09-21 00:00+00') TO ('2026-09-22 00:00+00')
"""
_BEFORE = f"""
INSERT INTO mints (id, address, symbol, name, decimals) VALUES (10, '{MINT}', 'SYM', 'Name', 6);
INSERT INTO pools (id, address, kind, venue, token_id, quote_id, mark_base, mark_quote, mark_order, last_trade_order)
VALUES (20, '{CURVE}', 'curve', 'pumpfun', 10, 1, 5, 6, {SLOT - 9 << 32}, -1),
       (21, '{POOL}', 'pool', 'pumpswap', 10, 1, 7, 8, {SLOT - 5 << 32}, {(SLOT - 5 << 32) + 1000});
UPDATE pools SET last_trade_at = to_timestamp({BLOCK_TIME}) WHERE id = 21;
INSERT INTO tokens (id, mint, platform, name, launched_at, launch_signature, launch_order, curve_id, creator, supply)
VALUES (10, '{MINT}', 'pumpfun', 'Name', to_timestamp({BLOCK_TIME - 9}), 'l', {SLOT - 9 << 32}, 20, 'somebody', 99);
INSERT INTO tails VALUES ('l', 'pumpfun', 'CreateEvent', 0, 'launch', to_timestamp({BLOCK_TIME}), {SLOT}, '\\x01');
INSERT INTO transactions (block_time, slot, chain_order, token_id, pool_id, quote_id, batch_no, base_amount,
    quote_amount, user_quote_amount, nth, order_exact, organic, synthetic, signature, venue, event, side, trader)
SELECT to_timestamp({BLOCK_TIME}), {SLOT - 5}, {SLOT - 5 << 32} + n, 10, 21, 1, 1, 3, 4, 5, 0, TRUE, TRUE, FALSE,
       'old' || n, 'pumpswap', 'SellEvent', 'sell', '{TRADER}' FROM generate_series(1, 1000) n;
"""


def since_0_1(edition: Edition | None) -> list[int]:
    """Return the steps that the last release has not."""
    assert edition is not None
    steps = migrate.choose(migrate.read(migrate.migrations_dir()), edition)
    return [step.number for step in steps if step.number > LAST_OF_0_1]


async def old_database(url: str, folder: Path) -> None:
    """Make the tables of the last release, with rows."""
    for path in migrate.migrations_dir().glob("*.sql"):
        if int(path.name[:4]) <= LAST_OF_0_1:
            shutil.copy(path, folder)
    connection = await asyncpg.connect(url)
    await migrate.apply(connection, folder)
    edition = await migrate.check(connection, folder)
    if edition == "plain":
        await connection.execute(_PARTITION)
    await connection.execute(_BEFORE)
    await connection.close()


async def test_what_was_stored_stays(database_url: str, tmp_path: Path) -> None:
    """Nothing is lost, new trades follow old ones, and undoing a fork leaves what was known before."""
    await old_database(database_url, tmp_path)
    async with await Store.open(database_url) as store:
        assert [step.number for step in await store.migrate()] == since_0_1(store.edition)
        await store.lock()
        async with store._reader() as connection:
            before = dict(await connection.fetchrow("SELECT * FROM tokens"))
            pools = await connection.fetch("SELECT * FROM pools ORDER BY id")
            assert await connection.fetchval("SELECT count(*) FROM transactions WHERE supply IS NULL") == 1000
        await store.write(Batch([swap(signature="s", supply=7, canonical=None), trade(signature="t", slot=SLOT + 1)]))
        written = await store.write(Batch(settled=[Settled(slot=slot, signatures=()) for slot in (SLOT, SLOT + 1)]))
        assert {fact.signature for fact in written.voided} == {"s", "t"}
        async with store._reader() as connection:
            after = dict(await connection.fetchrow("SELECT * FROM tokens"))
            assert after == before
            assert await connection.fetch("SELECT * FROM pools ORDER BY id") == pools
        assert len((await store.rows_of_slot(SLOT - 5)).trades) == 1000


_INSERT_BATCH_OF_0_1 = """
INSERT INTO batches (batch_no, batch_id, facts, stored, upgraded, duplicates, refused)
VALUES (1, gen_random_uuid(), 0, 0, 0, 0, 0) ON CONFLICT (batch_id) DO NOTHING
"""


async def test_a_daemon_of_the_last_release_writes_no_more(database_url: str, tmp_path: Path) -> None:
    """Its next batch fails as a schema that is not its own, with which it ends: it knows nothing of `changes`."""
    await old_database(database_url, tmp_path)
    connection = await asyncpg.connect(database_url)
    await connection.execute(_INSERT_BATCH_OF_0_1)
    async with await Store.open(database_url) as store:
        await store.migrate()
    with pytest.raises(SchemaMismatch), translated():
        await connection.execute(_INSERT_BATCH_OF_0_1)
    await connection.close()


async def test_readers_go_on_while_tables_are_read_through(database_url: str, tmp_path: Path) -> None:
    """The step that reads whole tables takes no lock that a reader has to wait for."""
    await old_database(database_url, tmp_path)
    shutil.copy(migrate.migrations_dir() / "0006_completeness.sql", tmp_path)
    (long,) = (step for step in migrate.read(migrate.migrations_dir()) if step.number == LAST_OF_0_1 + 2)
    migrating, reader = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    await migrate.apply(migrating, tmp_path)
    await migrating.execute("BEGIN")
    await migrating.execute(long.text)
    await reader.execute("SET lock_timeout = '1s'")
    for table in ("transactions", "tokens", "pools", "mints", "tails", "faults", "holes", "batches"):
        await reader.fetch(f"SELECT count(*) FROM {table}")
    await migrating.close()
    await reader.close()


async def test_a_migration_that_was_killed_is_done_again(database_url: str, tmp_path: Path) -> None:
    """Its connection ends half-way: all of the step is undone, and the next try takes it."""
    await old_database(database_url, tmp_path)
    holder, watcher = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    await holder.execute("BEGIN")
    await holder.execute("LOCK TABLE faults")
    async with await Store.open(database_url) as store:
        migrating = asyncio.create_task(store.migrate())
        while not await watcher.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            pass
        await watcher.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'launch-monitor migrate'"
        )
        assert isinstance((await asyncio.gather(migrating, return_exceptions=True))[0], Exception)
        assert await watcher.fetchval("SELECT to_regclass('changes')") is None
        await holder.execute("ROLLBACK")
        assert [step.number for step in await store.migrate()] == since_0_1(store.edition)
        assert await store.check() in ("plain", "apache", "timescale")
    await holder.close()
    await watcher.close()
