"""A slot is settled: what vanished is taken off, what comes back is added again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.store.batch import TOLD_AFTER_FINAL, Batch, Filled, Settled
from tests.store.dump import dump
from tests.store.facts import (
    BLOCK_TIME,
    CURVE,
    SIGNATURE,
    SLOT,
    curve_complete,
    fault,
    graduation,
    launch,
    other,
    pool_created,
    swap,
    trade,
)

if TYPE_CHECKING:
    import asyncpg

    from decoders.core.types import Fact
    from monitor.store.store import Store

LIFE: list[Fact] = [
    launch(),
    trade(position=9, lp_fee=5),
    fault(position=10),
    curve_complete(slot=SLOT + 1, signature="c"),
    pool_created(slot=SLOT + 2, signature="g", position=2),
    graduation(slot=SLOT + 2, signature="g", position=5),
    swap(slot=SLOT + 3, signature="s", mark_base=200, mark_quote=90, supply=8),
    other(slot=SLOT + 3, signature="o", mint=trade().mint, creator="New"),
]


async def test_what_comes_back_is_as_it_was(store: Store, sql: asyncpg.Connection, database_url: str) -> None:
    """Every slot in turn vanishes and stands again, by its signatures alone: the tables are what they were."""
    await store.write(Batch(LIFE))
    before = await dump(database_url)
    for slot in range(SLOT, SLOT + 4):
        signatures = tuple({fact.signature for fact in LIFE if fact.slot == slot})
        gone = await store.write(Batch(settled=[Settled(slot=slot, signatures=())]))
        assert await dump(database_url) != before
        back = await store.write(Batch(settled=[Settled(slot=slot, signatures=signatures)]))
        assert (gone.revived, back.voided, back.revived) == ([], [], gone.voided)
        for table, rows in (await dump(database_url)).items():
            assert _without_batch(rows) == _without_batch(before[table]), table
    assert await sql.fetchval("SELECT count(*) FROM transactions WHERE voided_at IS NOT NULL") == 0


def _without_batch(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name != "batch_no"} for row in rows]


async def test_a_token_that_vanished_is_a_stub(store: Store, sql: asyncpg.Connection) -> None:
    """Its trades go with it, each as the row that it was, and nobody sees it launched."""
    written = await store.write(Batch([launch(), trade(position=9)]))
    gone = await store.write(Batch(settled=[Settled(slot=SLOT, signatures=("other",))]))
    assert gone.batch_no is not None
    assert written.batch_no is not None
    assert gone.batch_no > written.batch_no
    assert await sql.fetchval("SELECT batch_no FROM transactions") == gone.batch_no
    (lost,) = gone.voided
    told = trade(position=9)
    same = ("signature", "slot", "block_time", "index", "position", "mint", "pool", "quote_mint", "side", "trader")
    for name in (
        *same,
        "base_amount",
        "quote_amount",
        "mark_base",
        "real_quote",
        "venue",
        "event",
        "nth",
        "creator_fee",
    ):
        assert getattr(lost, name) == getattr(told, name), name
    token = await sql.fetchrow("SELECT * FROM tokens")
    assert {name for name, value in token.items() if value not in (None, False)} == {"id", "mint"}
    pool = await sql.fetchrow("SELECT * FROM pools WHERE address = $1", CURVE)
    assert (pool["created_at"], pool["mark_base"], pool["mark_order"], pool["last_trade_at"]) == (None, None, -1, None)
    assert await sql.fetch("SELECT * FROM recent_launches") == []
    assert await sql.fetch("SELECT * FROM recent_trades") == []


async def test_a_trade_told_again_elsewhere_is_one_row(store: Store, sql: asyncpg.Connection) -> None:
    """It counts once, as it was executed there; a copy of the fork that comes late is checked again."""
    await store.write(Batch([trade()]))
    moved = trade(slot=SLOT + 1, base_amount=7)
    written = await store.write(Batch([moved]))
    assert [(change.old, change.new) for change in written.upgraded] == [(trade(), moved)]
    await store.write(
        Batch(settled=[Settled(slot=SLOT, signatures=()), Settled(slot=SLOT + 1, signatures=(SIGNATURE,))])
    )
    assert await sql.fetch("SELECT slot, base_amount FROM transactions WHERE voided_at IS NULL") == [(SLOT + 1, 7)]
    assert await store.open_holes(9) == []
    await store.write(Batch([trade(slot=SLOT + 2)], late=frozenset({SLOT + 2})))
    assert [(hole.first_slot, hole.reason) for hole in await store.open_holes(9)] == [(SLOT + 2, TOLD_AFTER_FINAL)]
    await store.write(Batch(settled=[Settled(slot=SLOT + 2, signatures=())]))
    assert {hole.first_slot for hole in await store.open_holes(9)} == {SLOT, SLOT + 1, SLOT + 2}


async def test_one_signature_at_two_block_times(store: Store, sql: asyncpg.Connection) -> None:
    """Both have a row, and the one that the chain does not hold is void."""
    times = [trade().block_time, (trade().block_time or 0) + 1]
    await store.write(Batch([trade(block_time=times[0]), trade(block_time=times[1], slot=SLOT + 2)]))
    assert await sql.fetchval("SELECT count(*) FROM transactions WHERE voided_at IS NULL") == 2
    await store.write(Batch(settled=[Settled(slot=SLOT, signatures=(SIGNATURE,))]))
    assert await sql.fetch("SELECT slot FROM transactions WHERE voided_at IS NULL") == [(SLOT,)]


async def test_a_slot_of_another_day_stays(store: Store, sql: asyncpg.Connection) -> None:
    """Where it is known when a slot was, what bears its number and is of another week has nothing to do with it."""
    day = 86_400
    facts = [trade(signature=f"s{at}", block_time=BLOCK_TIME + at * day) for at in range(-3, 4)]
    await store.write(Batch([launch(), *facts]))
    gone = await store.write(Batch(settled=[Settled(slot=SLOT, signatures=("s0",), block_time=BLOCK_TIME)]))
    assert {fact.signature for fact in gone.voided} == {"s-1", "s1"}
    back = await store.write(Batch(settled=[Settled(slot=SLOT, signatures=("s1", "s2"), block_time=BLOCK_TIME)]))
    assert ({fact.signature for fact in back.voided}, [f.signature for f in back.revived]) == ({"s0"}, ["s1"])
    gone = await store.write(Batch(settled=[Settled(slot=SLOT, signatures=())]))
    assert {fact.signature for fact in gone.voided} == {"s1", "s2", "s3", "s-2", "s-3"}


async def test_elsewhere_is_near(store: Store) -> None:
    """A transaction that was told at another slot some minutes away is where the chain has it."""
    later = trade(signature="s", slot=SLOT + 9, block_time=BLOCK_TIME + 300)
    await store.write(Batch([launch(), later]))
    told = Settled(slot=SLOT, signatures=("s",), block_time=BLOCK_TIME)
    assert [fact.slot for fact in (await store.write(Batch(settled=[told]))).voided] == [SLOT + 9]


@pytest.mark.parametrize("told", [fault(), trade(base_amount=1 << 63)], ids=["unreadable", "refused"])
async def test_what_could_not_be_read_is_doubted_when_told_late(
    store: Store, sql: asyncpg.Connection, told: Fact
) -> None:
    """Also if it had vanished before: what comes after its slot was settled is to be looked for on the chain."""
    late = Batch([told], late=frozenset({SLOT}))
    for _ in range(2):
        await store.write(late)
        assert await sql.fetchval("SELECT resolved_by FROM faults") is None
        (hole,) = await store.open_holes(9)
        assert (hole.first_slot, hole.last_slot, hole.reason) == (SLOT, SLOT, TOLD_AFTER_FINAL)
        filled = [Filled(by="history", hole_id=hole.id)]
        await store.write(Batch(settled=[Settled(slot=SLOT, signatures=())], filled=filled))
        assert await sql.fetchval("SELECT resolved_by FROM faults") == "vanished"
        assert await store.open_holes(9) == []
