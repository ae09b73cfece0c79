"""What the finalized chain says of a slot replaces what somebody else wrote there, with all that was made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from monitor.store.batch import Batch, Settled, Upgraded
from monitor.store.order import exact_order
from tests.store.dump import dump
from tests.store.facts import SIGNATURE, SLOT, curve_complete, graduation, launch, pool_created, trade

if TYPE_CHECKING:
    import asyncpg

    from decoders.core.types import Fact
    from monitor.store.store import Store

TRADE = trade(mark_base=10, mark_quote=20, real_base=30, supply=1_000)
LATER = trade(slot=SLOT + 1, signature="later", mark_base=11, mark_quote=21, real_base=31, supply=1_001)
RESERVES = "SELECT mark_base, mark_quote, real_base FROM pools"


def final(fact: Fact) -> Fact:
    """Return a fact as the finalized chain says it."""
    return msgspec.structs.replace(fact, final=True)


def settling(*facts: Fact) -> Batch:
    """Return what settles `SLOT`."""
    return Batch([final(fact) for fact in facts], settled=[Settled(slot=SLOT, signatures=(SIGNATURE,))])


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("together", [True, False])
async def test_a_changed_trade_is_what_the_chain_says(
    store: Store, sql: asyncpg.Connection, database_url: str, in_memory: bool, together: bool
) -> None:
    """So are the reserves and the supply that were taken from it, whether it comes with its slot's end or before."""
    await store.write(Batch([launch(), TRADE]))
    right = await dump(database_url)
    await sql.execute("UPDATE transactions SET base_amount = 5, mark_base = 6, real_base = NULL, side = 'sell'")
    await sql.execute("UPDATE transactions SET chain_order = 7, order_exact = FALSE, token_id = token_id + 100")
    await sql.execute("UPDATE pools SET mark_base = 6, real_base = 1")
    await sql.execute("UPDATE tokens SET supply = 7")
    assert store._writer is not None
    if not in_memory:
        store._writer._recent.clear()
    whole = settling(TRADE)
    written = await store.write(whole if together else Batch(whole.facts))
    if not together:
        await store.write(Batch(settled=whole.settled))
    wrong = msgspec.structs.replace(
        final(TRADE), base_amount=5, mark_base=6, real_base=None, side="sell", index=None, position=0
    )
    (upgraded,) = written.upgraded
    assert upgraded.old is not None
    assert msgspec.structs.replace(upgraded.old, position=0) == wrong
    assert upgraded.new == final(TRADE)
    assert await dump(database_url) == right
    order = exact_order(SLOT, 7, 3, 0)
    assert await sql.fetchrow("SELECT chain_order, order_exact FROM transactions") == (order, True)


async def test_what_came_later_on_the_pool_stands(store: Store, sql: asyncpg.Connection, database_url: str) -> None:
    """Reserves told by a later trade are left as they are."""
    await store.write(Batch([launch(), TRADE, LATER]))
    right = await dump(database_url)
    await sql.execute("UPDATE transactions SET mark_base = 6, quote_amount = 1 WHERE signature = $1", SIGNATURE)
    await store.write(settling(TRADE))
    assert await sql.fetchrow(RESERVES) == (11, 21, 31)
    assert await dump(database_url) == right


async def test_what_is_right_is_left_alone(store: Store, sql: asyncpg.Connection) -> None:
    """A trade that says the same is a duplicate; one of which less was known is upgraded as ever."""
    await store.write(Batch([launch(), TRADE]))
    before = await sql.fetchrow("SELECT * FROM transactions")
    written = await store.write(settling(TRADE))
    assert (written.upgraded, written.duplicates) == ([], [final(TRADE)])
    assert await sql.fetchrow("SELECT * FROM transactions") == before
    poor = msgspec.structs.replace(LATER, index=None, mark_base=None, mark_quote=None)
    await store.write(Batch([poor]))
    written = await store.write(Batch([final(LATER)]))
    assert written.upgraded == [Upgraded(final(poor), final(LATER))]
    assert await sql.fetchrow(RESERVES) == (11, 21, 31)


@pytest.mark.parametrize("first", [True, False])
async def test_beside_another_copy_it_counts(store: Store, sql: asyncpg.Connection, first: bool) -> None:
    """Of copies in one batch the final one is stored, in whatever order they come."""
    wrong = msgspec.structs.replace(TRADE, base_amount=5, mark_base=6, lp_fee=99, decimals=6)
    right = msgspec.structs.replace(final(TRADE), decimals=None)
    await store.write(Batch([right, wrong] if first else [wrong, right]))
    row = await sql.fetchrow("SELECT base_amount, mark_base, lp_fee FROM transactions")
    assert row == (TRADE.base_amount, 10, TRADE.lp_fee)
    assert await sql.fetchrow("SELECT mark_base FROM pools") == (10,)


async def test_nobody_else_overwrites(store: Store, database_url: str) -> None:
    """Another copy of the same transaction that says something else changes nothing, before or after."""
    await store.write(Batch([TRADE]))
    await store.write(settling(TRADE))
    before = await dump(database_url)
    await store.write(Batch([msgspec.structs.replace(TRADE, base_amount=5, mark_base=6)]))
    assert await dump(database_url) == before


async def test_a_trade_found_in_a_later_slot_goes_back(store: Store, sql: asyncpg.Connection) -> None:
    """It landed where the finalized chain has it; where else it was heard of is noted."""
    await store.write(Batch([msgspec.structs.replace(TRADE, slot=SLOT + 4)]))
    await store.write(settling(TRADE))
    assert await sql.fetch("SELECT slot, voided_at FROM transactions") == [(SLOT, None)]
    assert await sql.fetch("SELECT signature, slot FROM landings") == [(SIGNATURE, SLOT + 4)]
    assert await sql.fetchval("SELECT mark_order >> 32 FROM pools") == SLOT


async def test_tokens_and_pools_are_made_again(store: Store, sql: asyncpg.Connection, database_url: str) -> None:
    """Launch, completion, graduation and the new pool put right what was changed of them."""
    facts: list[Fact] = [launch(), TRADE, curve_complete(), graduation(), pool_created()]
    await store.write(Batch(facts))
    right = await dump(database_url)
    await sql.execute("UPDATE tokens SET name = 'Changed', completed_at = now(), graduated_signature = 'x'")
    await sql.execute("UPDATE pools SET creator = 'Nobody', seed_base = 1, canonical = NOT canonical")
    await sql.execute("""UPDATE changes SET data = data || '{"name": "Changed"}' WHERE fact = 'launch'""")
    assert await dump(database_url) != right
    await store.write(settling(*facts))
    assert await dump(database_url) == right
