"""Where places in a block are not known, the order of arrival is kept, also in the batch that first meets a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from monitor.store.batch import Batch
from tests.store.facts import curve_complete, launch, trade

if TYPE_CHECKING:
    from monitor.store.store import Store


async def test_trades_of_a_new_pool_keep_their_order(store: Store, database_url: str) -> None:
    """The last trade of a batch comes last and leaves its reserves with the pool; the completion comes after it."""
    trades = [trade(signature=f"{n}", index=None, mark_base=100 - n, mark_quote=1 + n) for n in range(3)]
    await store.write(Batch([launch(index=None), *trades, curve_complete(signature="3", index=None)]))
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT signature FROM transactions ORDER BY chain_order")
        assert [row["signature"] for row in rows] == ["0", "1", "2"]
        assert await connection.fetchval("SELECT mark_base FROM pools") == 98
        last = await connection.fetchval("SELECT max(chain_order) FROM transactions")
        assert await connection.fetchval("SELECT completed_order FROM tokens") > last
    finally:
        await connection.close()
