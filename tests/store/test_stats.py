"""`db stats` tells what is there, and what autovacuum needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.store import stats
from monitor.store.batch import Batch
from monitor.store.stats import Compression, Load
from tests.store.facts import BLOCK_TIME, launch, trade

if TYPE_CHECKING:
    import asyncpg

    from monitor.store.store import Store

DEFAULTS = {
    "autovacuum": "on",
    "autovacuum_vacuum_scale_factor": "0.2",
    "autovacuum_vacuum_insert_scale_factor": "0.2",
    "autovacuum_vacuum_cost_limit": "-1",
    "autovacuum_vacuum_cost_delay": "2ms",
    "vacuum_cost_limit": "200",
    "vacuum_cost_delay": "0",
}
DAYS, A_DAY = 3, 400
_BYTES = """
SELECT sum(pg_total_relation_size(id))::bigint
  FROM (SELECT 'transactions'::regclass AS id
        UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = 'transactions'::regclass) parts
"""


async def test_sizes_and_rows(store: Store, sql: asyncpg.Connection) -> None:
    """Of a table with its pieces; rows are counted, and bytes a trade are those of all that there is."""
    trades = [
        trade(block_time=BLOCK_TIME + 86_400 * day, signature=f"s{day} {n}")
        for day in range(DAYS)
        for n in range(A_DAY)
    ]
    await store.write(Batch([launch(), *trades]))
    await sql.execute("DELETE FROM transactions WHERE signature = 's0 0'")
    found = await stats.stats(sql, await store.check(), quick=False)
    sizes = {size.name: size for size in found.sizes}
    assert (sizes["tokens"].rows, sizes["mints"].rows, sizes["tokens"].pieces) == (1, 4, 0)
    of_trades = sizes["transactions"]
    assert of_trades.rows == DAYS * A_DAY - 1
    assert of_trades.pieces == await sql.fetchval(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'transactions'::regclass"
    )
    assert of_trades.total_bytes == await sql.fetchval(_BYTES)
    assert found.bytes_per_trade == of_trades.total_bytes / of_trades.rows
    assert found.compression == ()
    assert found.load.rows_per_s == await sql.fetchval("SELECT sum(stored) FROM batches") >= DAYS * A_DAY
    names = {row[0] for row in await sql.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition")}  # fmt: skip
    assert names <= sizes.keys()


async def test_an_empty_database_has_no_bytes_a_trade(store: Store, sql: asyncpg.Connection) -> None:
    """Nothing is divided by nothing; estimates will do as well."""
    found = await stats.stats(sql, await store.check(), quick=True)
    assert (found.bytes_per_trade, found.load.rows_per_s, found.advice) == (None, 0, ())


async def test_what_compression_came_to(store: Store, sql: asyncpg.Connection) -> None:
    """By the community edition alone; rows in compressed chunks count like all others."""
    trades = [trade(block_time=BLOCK_TIME, signature=f"s{n}" * 20) for n in range(2_000)]
    await store.write(Batch(trades))
    if await store.check() == "timescale":
        await sql.execute(
            "ALTER TABLE transactions SET (timescaledb.compress, timescaledb.compress_orderby = 'block_time')"
        )
        await sql.execute("SELECT count(compress_chunk(c)) FROM show_chunks('transactions') c")
    found = await stats.stats(sql, await store.check(), quick=False)
    assert next(size.rows for size in found.sizes if size.name == "transactions") == 2_000
    if store.edition != "timescale":
        assert found.compression == ()
        return
    (part,) = found.compression
    assert (part.name, part.chunks, part.compressed) == ("transactions", 1, 1)
    assert part.before_bytes > 2 * part.after_bytes > 0
    size = next(size for size in found.sizes if size.name == "transactions")
    assert size.total_bytes < part.before_bytes


def test_a_ratio_is_how_many_times_smaller() -> None:
    """5 : 1 is five times smaller."""
    assert Compression("t", 2, 1, 500, 100).ratio == 5


@pytest.mark.parametrize(
    ("load", "changed", "advised"),
    [
        (Load(0, 0, {}), {}, {}),
        (Load(1_000, 500, {"pools": (5, 0.2)}), {}, {}),
        (Load(0, 0, {}), {"autovacuum": "off"}, {"autovacuum": "on"}),
        (Load(0, 0, {"pools": (500, 0.2)}), {}, {"pools: autovacuum_vacuum_scale_factor": "0.02"}),
        (Load(0, 0, {"pools": (500, 0.01)}), {}, {}),
        # 200 a 2 ms are 9.1 pages, 37 MB/s: no match for 100,000 rows of 500 bytes, written and frozen.
        (Load(100_000, 500, {}), {}, {"autovacuum_vacuum_cost_limit": "600"}),
        (Load(100_000, 500, {}), {"autovacuum_vacuum_cost_limit": "600"}, {}),
        (Load(100_000, 500, {}), {"autovacuum_vacuum_cost_delay": "0"}, {}),
        (Load(100_000, 500, {}), {"autovacuum_vacuum_cost_delay": "500us"}, {}),
        (Load(100_000, 500, {}), {"autovacuum_vacuum_cost_delay": "-1"}, {}),
    ],
)
def test_advice_for_autovacuum(load: Load, changed: dict[str, str], advised: dict[str, str]) -> None:
    """Only what does not fit the load is told; what is as advised is well."""
    found = stats.advise(load, DEFAULTS | changed)
    assert {advice.setting: advice.advised for advice in found} == advised
    assert all(advice.why and advice.now for advice in found)


async def test_slow_statements_need_their_extension(
    store: Store, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it there are none; with it those of this database, the longest in all first."""
    if not await sql.fetchval("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')"):
        assert (await stats.stats(sql, await store.check(), quick=True)).statements is None
    monkeypatch.setattr(stats, "_STATEMENTS_SCHEMA", "SELECT 'elsewhere'")
    await sql.execute(_LIKE_THE_EXTENSION)
    found = (await stats.stats(sql, await store.check(), quick=True, statements=2)).statements
    assert found is not None
    assert [(said.query, said.total_s, said.mean_ms, said.calls) for said in found] == [
        ("SELECT 3", 3.0, 30.0, 100), ("SELECT 2", 2.0, 20.0, 100),
    ]  # fmt: skip


_LIKE_THE_EXTENSION = """
CREATE SCHEMA elsewhere;
CREATE VIEW elsewhere.pg_stat_statements AS
SELECT (SELECT oid FROM pg_database
         WHERE datname = CASE WHEN n < 4 THEN current_database() ELSE 'template1' END) AS dbid,
       100::bigint AS calls, n * 1000::double precision AS total_exec_time, n * 10::double precision AS mean_exec_time,
       n * 99::double precision AS max_exec_time, n::bigint AS rows, 'SELECT ' || n AS query
  FROM generate_series(1, 5) n
"""
