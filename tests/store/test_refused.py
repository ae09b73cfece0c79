"""Amounts that no BIGINT holds are kept as faults, and their token says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from monitor.store.batch import Batch, Resolved, Settled
from tests.store.facts import BLOCK_TIME, MINT, SIGNATURE, SLOT, fault, launch, swap, trade

if TYPE_CHECKING:
    import asyncpg

    from monitor.store.store import Store

HUGE = (1 << 64) - 1
_REFUSED = "SELECT has_refused FROM tokens WHERE mint = $1"


async def test_a_token_with_a_supply_near_the_limit(store: Store, sql: asyncpg.Connection) -> None:
    """Its launch and what fits are stored; what does not is kept whole, and the token says that something lacks."""
    await store.write(Batch([launch(supply=HUGE), trade(signature="fits")]))
    assert await sql.fetchval(_REFUSED, MINT) is False
    written = await store.write(Batch([trade(signature="huge", base_amount=HUGE), trade(signature="fits too")]))
    assert [refused.signature for refused in written.refused] == ["huge"]
    kept = await sql.fetchrow("SELECT f.*, t.mint, t.supply FROM faults f JOIN tokens t ON t.id = f.token_id")
    assert msgspec.json.decode(kept["payload"])["base_amount"] == HUGE
    assert (kept["mint"], kept["supply"], kept["fact"]) == (MINT, HUGE, "trade")
    assert await sql.fetchval(_REFUSED, MINT) is True
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 2


async def test_a_token_of_which_all_is_refused(store: Store, sql: asyncpg.Connection) -> None:
    """It has a row all the same, which a launch that can be stored fills later."""
    await store.write(Batch([launch(for_sale=HUGE)]))
    assert await sql.fetchval("SELECT launched_at FROM tokens WHERE mint = $1", MINT) is None
    assert await sql.fetchval(_REFUSED, MINT) is True
    await store.write(Batch([launch(signature="another")]))
    assert await sql.fetchval("SELECT launch_signature FROM tokens WHERE mint = $1", MINT) == "another"
    assert await sql.fetchval(_REFUSED, MINT) is True


async def test_what_a_decoder_refuses_counts_as_well(store: Store, sql: asyncpg.Connection) -> None:
    """It reads the event, and knows the token; where it does not, no token is told of."""
    await store.write(Batch([fault(mint=MINT), fault(nth=1)]))
    assert await sql.fetchval(_REFUSED, MINT) is True
    assert await sql.fetchval("SELECT count(*) FROM faults WHERE token_id IS NULL") == 1
    assert await sql.fetchval("SELECT count(*) FROM tokens") == 1


async def test_what_vanished_is_refused_no_longer(store: Store, sql: asyncpg.Connection) -> None:
    """Until it comes back, or is told again."""
    huge = swap(signature="huge", base_amount=HUGE)
    await store.write(Batch([launch(slot=SLOT - 9), huge]))
    for standing, expected in (((), False), (("huge",), True), ((), False)):
        await store.write(Batch(settled=[Settled(slot=SLOT, signatures=standing)]))
        assert await sql.fetchval(_REFUSED, MINT) is expected
    await store.write(Batch([huge]))
    assert await sql.fetchval(_REFUSED, MINT) is True
    fault_id = await sql.fetchval("SELECT id FROM faults")
    await store.write(Batch(resolved=[Resolved(by="redecode", fault_id=fault_id)]))
    assert await sql.fetchval(_REFUSED, MINT) is False


async def test_other_reasons_are_no_matter_of_the_token(store: Store, sql: asyncpg.Connection) -> None:
    """Nothing is wrong with its numbers if a time lacks."""
    await store.write(Batch([launch(signature=SIGNATURE, block_time=BLOCK_TIME), trade(block_time=None)]))
    assert await sql.fetchval("SELECT count(*) FROM faults") == 1
    assert await sql.fetchval(_REFUSED, MINT) is False
