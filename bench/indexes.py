"""
What each index of `transactions` costs an insert, and what it gives a query: a table for docs/BENCHMARKS.md.

One partition, filled by COPY in batches as the daemon does, by a market with a few busy bots, many people, and tokens
that are hot for a while. The cost is processor time of the server's own process, so that a busy machine hardly changes
it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import asyncpg

from monitor.store.store import Store
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = (
    "transactions_pkey",
    "transactions_signature",
    "transactions_slot",
    "transactions_voided",
    "transactions_token_id",
)
WAYS: dict[str, tuple[str, ...]] = {
    "key, signature (hash), token (btree)": (),
    "+ pool (btree)": ("(pool_id, block_time DESC)",),
    "+ wallet (hash)": ("USING hash (trader)",),
    "+ wallet (btree)": ("(trader, block_time DESC)",),
    "+ pool (btree), wallet (btree)": ("(pool_id, block_time DESC)", "(trader, block_time DESC)"),
}
BATCH = 5_000
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
DAY = datetime(2026, 9, 21, tzinfo=UTC)
BOT, PERSON = "bot", "person"
NEWEST = """
SELECT * FROM transactions WHERE {} = $1 AND voided_at IS NULL ORDER BY block_time DESC, chain_order DESC LIMIT 50
"""
QUERIES = {
    "busiest wallet": ("trader", f"{BOT}1".ljust(44, "x")),
    "a person": ("trader", f"{PERSON}7".ljust(44, "x")),
    "busiest pool": ("pool_id", 1),
}


def trades(count: int, seed: int = 1) -> Iterator[tuple[Any, ...]]:
    """Yield rows of `transactions`: COLUMNS without those that stay NULL."""
    draw = random.Random(seed)
    for n in range(count):
        token = int(n / 300 * draw.random() ** 0.3) + 1
        who = (
            f"{BOT}{int(draw.paretovariate(0.6)) % 300}"
            if draw.random() < 0.6
            else f"{PERSON}{int(draw.random() ** 2 * count / 8)}"
        )
        signature = hashlib.sha512(b"%d" % n).hexdigest()[:88]
        at = DAY + timedelta(milliseconds=86_000_000 * n // count)
        yield (
            at.replace(microsecond=0), n // 10, n << 32, token, token, 1, n // BATCH, 10**12 + n, 10**9, 10**9, 10**15,
            31 * 10**9, 10**14, 10**9, 9_500_000, 3_000_000, 0, True, True, False, signature, "pumpfun", "TradeEvent",
            "buy", who.ljust(44, "x"),
        )  # fmt: skip


COLUMNS = (
    "block_time", "slot", "chain_order", "token_id", "pool_id", "quote_id", "batch_no", "base_amount", "quote_amount",
    "user_quote_amount", "mark_base", "mark_quote", "real_base", "real_quote", "protocol_fee", "creator_fee", "nth",
    "order_exact", "organic", "synthetic", "signature", "venue", "event", "side", "trader",
)  # fmt: skip


def spent_s(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


async def measure(
    server: postgres.Server, indexes: tuple[str, ...], batches: list[list[tuple[Any, ...]]]
) -> dict[str, float]:
    """Fill a database that has these indexes besides, and ask it."""
    async with server.database() as url:
        async with await Store.open(url) as store:
            await store.migrate()
        connection = await asyncpg.connect(url)
        for name in await connection.fetch(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'transactions'::regclass"
        ):
            if name[0] not in BASE:
                await connection.execute(f"DROP INDEX {name[0]}")
        for index in indexes:
            await connection.execute(f"CREATE INDEX ON transactions {index}")
        await connection.execute(
            "CREATE TABLE transactions_p20260921 PARTITION OF transactions "
            f"FOR VALUES FROM ('{DAY}') TO ('{DAY + timedelta(days=1)}')"
        )
        pid = connection.get_server_pid()
        rows = sum(map(len, batches))
        began, cpu_s = time.perf_counter(), -spent_s(pid)
        for batch in batches:
            await connection.copy_records_to_table("transactions", records=batch, columns=COLUMNS)
        passed_s, cpu_s = time.perf_counter() - began, cpu_s + spent_s(pid)
        await connection.execute("VACUUM ANALYZE transactions")
        found = {"µs CPU a row": cpu_s / rows * 1e6, "µs a row": passed_s / rows * 1e6}
        size = await connection.fetchval("SELECT pg_indexes_size('transactions_p20260921')")
        found["index bytes a row"] = size / rows
        for name, (column, value) in QUERIES.items():
            query = NEWEST.format(column)
            took = []
            for _ in range(5):
                began = time.perf_counter()
                await connection.fetch(query, value)
                took.append(time.perf_counter() - began)
            found[f"{name} (ms)"] = median(took) * 1e3
        await connection.close()
        return found


async def run(rows: int, rounds: int) -> None:
    """Measure each way in turns, and print medians."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    made = list(trades(rows))
    batches = [made[at : at + BATCH] for at in range(0, rows, BATCH)]
    with postgres.start() as server:
        for _ in range(rounds):
            for way, indexes in WAYS.items():
                print(f"{way} …", flush=True, file=sys.stderr)
                found[way].append(await measure(server, indexes, batches))
    names = list(found[next(iter(WAYS))][0])
    print(f"| {rows:,} rows | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for way, results in found.items():
        print(f"| {way} | {' | '.join(f'{median(result[name] for result in results):,.1f}' for name in names)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(run(given.rows, given.rounds))
