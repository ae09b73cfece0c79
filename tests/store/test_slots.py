"""What stands in slots is told to those who compare it with the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.batch import Batch, Final, Settled
from monitor.store.trim import TRIM_EVERY, trim
from tests.store.facts import BLOCK_TIME, CURVE, MINT, POOL, SLOT, graduation, launch, other, pool_created, swap, trade

if TYPE_CHECKING:
    import asyncpg

    from monitor.store.store import Store


async def test_what_stands_is_told_by_slot(store: Store) -> None:
    """Each transaction once, whatever it said; what vanished is not told, and no slot is cut."""
    facts = [
        trade(signature="a"),
        trade(signature="a", nth=1),
        launch(signature="b"),
        trade(signature="c", slot=SLOT + 1),
        other(signature="d", slot=SLOT + 1, pool=CURVE, virtual_quote=4),
        trade(signature="gone", slot=SLOT + 2),
        trade(signature="e", slot=SLOT + 3),
    ]
    await store.write(Batch(facts, settled=[Settled(slot=SLOT + 2, signatures=("nothing of ours",))]))
    every = [(SLOT, "a"), (SLOT, "b"), (SLOT + 1, "c"), (SLOT + 1, "d"), (SLOT + 3, "e")]
    assert await store.unsettled(SLOT - 1, SLOT + 9) == every
    assert await store.unsettled(SLOT, SLOT + 1) == every[2:4]
    assert await store.unsettled(SLOT - 1, SLOT + 9, 1) == every[:2]
    assert await store.unsettled(SLOT - 1, SLOT + 9, 3) == every[:2]
    assert await store.unsettled(SLOT + 3, SLOT + 9) == []


async def test_rows_of_a_slot(store: Store) -> None:
    """Trades with their addresses, and the tokens and pools to which something happened there."""
    facts = [
        launch(),
        trade(slot=SLOT + 1, signature="t", position=4),
        pool_created(slot=SLOT + 1, signature="g"),
        graduation(slot=SLOT + 1, signature="g", position=9),
        swap(slot=SLOT + 2, signature="s", supply=1 << 63),
    ]
    await store.write(Batch(facts))
    first = await store.rows_of_slot(SLOT)
    assert (len(first.trades), len(first.graduations)) == (0, 0)
    assert [(row["mint"], row["curve"], row["name"]) for row in first.launches] == [(MINT, CURVE, "Name")]
    assert [(row["address"], row["mint"]) for row in first.pools] == [(CURVE, MINT)]
    second = await store.rows_of_slot(SLOT + 1, BLOCK_TIME)
    assert [(row["signature"], row["mint"], row["pool"]) for row in second.trades] == [("t", MINT, CURVE)]
    assert [(row["graduation_pool"], row["graduation_venue"]) for row in second.graduations] == [(POOL, "pumpswap")]
    assert [row["address"] for row in second.pools] == [POOL]
    third = await store.rows_of_slot(SLOT + 2)
    assert [row["supply"] for row in third.trades] == [1 << 63]
    assert (third.launches, third.pools) == ([], [])


async def test_a_slot_is_found_by_its_index(store: Store, sql: asyncpg.Connection) -> None:
    """Rows of a slot are found without reading the table."""
    for part in range(20):
        trades = [trade(signature=f"s{part}-{at}", slot=SLOT + part * 50 + at // 20, index=at) for at in range(1000)]
        await store.write(Batch(trades))
    await sql.execute("VACUUM ANALYZE transactions")
    statement = "SELECT * FROM transactions WHERE slot = $1 AND voided_at IS NULL"
    plan = "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {statement.replace('$1', str(SLOT + 500))}"))
    assert "Bitmap Index Scan" in plan
    assert "slot" in plan
    assert len(await sql.fetch(statement, SLOT + 500)) == 20


async def test_changes_that_are_final_are_trimmed(store: Store, sql: asyncpg.Connection) -> None:
    """Of other events the latest final one stays, and what it does not say; launches stay. Nothing else changes."""
    facts = [
        launch(),
        *(other(pool=POOL, signature=f"r{at}", slot=SLOT + at, real_base=at, venue="pumpswap") for at in range(5)),
        other(pool=POOL, signature="q", slot=SLOT, real_quote=3, venue="pumpswap"),
        other(mint=MINT, signature="c", slot=SLOT + 1, creator="x"),
    ]
    await store.write(Batch(facts))
    await store.write(Batch(final=Final(through=SLOT + 3)))
    await trim(sql, TRIM_EVERY)
    assert await sql.fetch("SELECT signature FROM changes WHERE fact = 'other' ORDER BY signature") == [
        ("c",),
        ("q",),
        ("r3",),
        ("r4",),
    ]
    gone = await store.write(Batch(settled=[Settled(slot=SLOT + 4, signatures=())]))
    assert gone.voided == []
    assert await sql.fetchrow("SELECT real_base, real_quote FROM pools WHERE address = $1", POOL) == (3, 3)


async def test_commits_long_gone_are_trimmed(store: Store, sql: asyncpg.Connection) -> None:
    """The newest million stay."""
    await store.write(Batch([trade()]))
    number = await sql.fetchval("SELECT max(batch_no) FROM batches")
    await trim(sql, number + 999_999)
    assert await sql.fetchval("SELECT count(*) FROM batches") == 1
    await trim(sql, number + 1_000_000)
    assert await sql.fetchval("SELECT count(*) FROM batches") == 0
