"""Events that are read again by a newer layout make their rows whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from decoders.core.types import Record
from monitor.store.batch import Batch, Resolved, Upgraded
from tests.store.facts import BLOCK_TIME, SIGNATURE, SLOT, launch, trade

if TYPE_CHECKING:
    import asyncpg

    from decoders.core.types import Trade
    from monitor.store.store import Store

BODY = bytes(range(40))


def read_to(left: int, **given: object) -> Trade:
    """A trade of which the layout left that many bytes."""
    return trade(record=Record(None, (), BODY[len(BODY) - left :], BODY if left else b""), **given)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("left", [0, 3])
async def test_a_newer_layout_takes_the_tail(store: Store, sql: asyncpg.Connection, left: int, in_memory: bool) -> None:
    """The members that it reads are filled, the tail is what is left now; only a tail read to its end is resolved."""
    before, after = read_to(9, cashback=None), read_to(left, cashback=5)
    await store.write(Batch([before]))
    if not in_memory:
        assert store._writer is not None
        store._writer._recent.clear()
    (row,) = await store.tails(0, 10)
    assert (row.payload, row.tail, row.fact, row.tx_index, row.slot) == (BODY, BODY[-9:], "trade", 7, SLOT)
    assert (row.program, row.signature, row.block_time.timestamp()) == (before.program, SIGNATURE, BLOCK_TIME)
    written = await store.write(Batch([after], resolved=[Resolved(by="redecode", tail_id=row.id)]))
    assert written.upgraded == [Upgraded(before, after)] or written.upgraded[0].new.record == after.record
    assert await sql.fetchrow("SELECT cashback, tail FROM transactions") == (5, BODY[-left:] if left else None)
    assert [row.tail for row in await store.tails(0, 10)] == ([BODY[-left:]] if left else [])
    await store.write(Batch([before]))
    assert await sql.fetchrow("SELECT cashback, tail FROM transactions") == (5, BODY[-left:] if left else None)


async def test_a_member_that_has_no_column_still_shortens_the_tail(store: Store, sql: asyncpg.Connection) -> None:
    """Nothing else may be told: the copy knows as much, and less is left over."""
    await store.write(Batch([read_to(9)]))
    (row,) = await store.tails(0, 10)
    await store.write(Batch([read_to(0)], resolved=[Resolved(by="redecode", tail_id=row.id)]))
    assert await sql.fetchval("SELECT tail FROM transactions") is None


async def test_a_copy_that_knows_less_does_not_take_the_tail(store: Store, sql: asyncpg.Connection) -> None:
    """It was read by an older layout, or is of another event."""
    await store.write(Batch([read_to(9, lp_fee=4)]))
    assert store._writer is not None
    store._writer._recent.clear()
    other_bytes = trade(record=Record(None, (), b"xyz", BODY))
    for copy in (read_to(0), trade(lp_fee=4), other_bytes):
        await store.write(Batch([copy]))
        assert await sql.fetchval("SELECT tail FROM transactions") == BODY[-9:]


async def test_tails_of_other_facts_are_resolved(store: Store) -> None:
    """A launch is upgraded in its token; its tail is closed by who read it."""
    await store.write(Batch([launch(record=Record(None, (), BODY[-4:], BODY), token_program=None)]))
    (row,) = await store.tails(0, 10)
    assert row.fact == "launch"
    written = await store.write(
        Batch([launch(token_program="Token")], resolved=[Resolved(by="redecode", tail_id=row.id)])
    )
    assert len(written.upgraded) == 1
    assert await store.tails(0, 10) == []


async def test_what_waits_for_its_transaction_is_closed(store: Store) -> None:
    """A payload that does not tell everything becomes a hole, and is not read again."""
    await store.write(Batch([read_to(9)]))
    (row,) = await store.tails(0, 10)
    await store.write(Batch(resolved=[Resolved(by="hole", tail_id=row.id)]))
    assert await store.tails(0, 10) == []
