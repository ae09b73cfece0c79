"""A batch becomes rows: once, whole, and with what later copies know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

from decoders.core.types import WSOL, Fault, Record, Trade
from monitor.errors import SchemaMismatch
from monitor.store.batch import Batch, Filled, Hole, Progress, Upgraded
from tests.decoders import built
from tests.store.facts import (
    BLOCK_TIME,
    CREATOR,
    CURVE,
    MINT,
    POOL,
    SIGNATURE,
    SLOT,
    SUPPLY,
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
    from decoders.core.types import Fact
    from monitor.store.store import Store


def copies(count: int, **given: Any) -> list[Fact]:
    """Return that many trades of different transactions."""
    return [trade(signature=f"signature{at}", index=at, **given) for at in range(count)]


async def test_a_life_of_a_token(store: Store, sql: asyncpg.Connection) -> None:
    """Launch, trades, completion and graduation end up in tokens, pools and transactions, linked both ways."""
    facts: list[Fact] = [
        launch(),
        trade(position=9),
        curve_complete(slot=SLOT + 10, signature="c", block_time=BLOCK_TIME + 4),
        pool_created(slot=SLOT + 20, signature="g", position=2, block_time=BLOCK_TIME + 8),
        graduation(slot=SLOT + 20, signature="g", position=5, block_time=BLOCK_TIME + 8),
        swap(slot=SLOT + 30, signature="s", block_time=BLOCK_TIME + 12, mark_base=200, mark_quote=90),
    ]
    written = await store.write(Batch(facts))
    assert written.new == facts
    token = await sql.fetchrow("SELECT * FROM tokens")
    curve = await sql.fetchrow("SELECT * FROM pools WHERE kind = 'curve'")
    pool = await sql.fetchrow("SELECT * FROM pools WHERE kind = 'pool'")
    assert (token["mint"], token["symbol"], token["supply"], token["platform"]) == (MINT, "SYM", SUPPLY, "pumpfun")
    assert (token["launch_signature"], token["completed_signature"], token["graduated_signature"]) == (
        SIGNATURE,
        "c",
        "g",
    )
    assert (token["curve_id"], token["graduation_pool_id"], token["primary_pool_id"]) == (
        curve["id"],
        pool["id"],
        pool["id"],
    )
    assert (curve["address"], curve["graduated_to"], curve["completed_at"]) == (
        CURVE,
        pool["id"],
        token["completed_at"],
    )
    assert (pool["address"], pool["graduated_from"], pool["venue"]) == (POOL, curve["id"], "pumpswap")
    assert (curve["mark_base"], curve["curve_sold"]) == (trade().mark_base, trade().curve_sold)
    assert (pool["mark_base"], pool["mark_quote"], pool["seed_base"]) == (200, 90, 206_900_000_000_000)
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 2
    assert await sql.fetchrow("SELECT symbol, decimals FROM mints WHERE address = $1", MINT) == ("SYM", 6)


async def test_the_same_batch_again_changes_nothing(store: Store, sql: asyncpg.Connection) -> None:
    """Every fact that comes again is a duplicate."""
    facts = [launch(), trade(), curve_complete(), pool_created(), graduation(), fault()]
    assert (await store.write(Batch(facts))).new == facts
    again = await store.write(Batch(facts))
    assert (again.new, again.upgraded, len(again.duplicates)) == ([], [], 6)
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 1
    assert await sql.fetchval("SELECT count(*) FROM faults") == 1


async def test_a_committed_batch_may_be_repeated(store: Store, sql: asyncpg.Connection) -> None:
    """Its facts are duplicates then, and its commit stays the one it was."""
    batch = Batch(copies(3))
    first = await store.write(batch)
    assert len((await store.write(batch)).duplicates) == 3
    assert await sql.fetch("SELECT batch_no, stored FROM batches") == [(first.batch_no, 3)]


async def test_what_is_in_the_table_but_not_in_memory_is_a_duplicate(store: Store) -> None:
    """After a restart the table itself tells what is new, and says so in order."""
    await store.write(Batch(copies(10)))
    assert store._writer is not None
    store._writer._recent.clear()
    facts = copies(20)
    written = await store.write(Batch(facts))
    assert (written.new, written.duplicates) == (facts[10:], facts[:10])
    assert store._writer._look_first
    await store.write(Batch(copies(10, event="BuyEvent")))
    assert not store._writer._look_first


async def test_copies_in_one_batch_are_one_row(store: Store, sql: asyncpg.Connection) -> None:
    """The richest copy is new, the others are duplicates."""
    poor, rich = trade(index=None, lp_fee=None), trade(index=4, lp_fee=8)
    written = await store.write(Batch([poor, rich, poor]))
    assert (written.new, len(written.duplicates)) == ([rich], 2)
    assert await sql.fetchrow("SELECT lp_fee, order_exact FROM transactions") == (8, True)


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_later_copy_that_knows_more(store: Store, sql: asyncpg.Connection, in_memory: bool) -> None:
    """It fills what was NULL and moves slot and order; the old one is returned beside it."""
    poor, rich = trade(index=None, mark_base=None, mark_quote=None), trade(index=4)
    await store.write(Batch([poor]))
    assert store._writer is not None
    if not in_memory:
        store._writer._recent.clear()
    written = await store.write(Batch([rich]))
    assert written.upgraded == [Upgraded(poor, rich)]
    row = await sql.fetchrow("SELECT mark_base, chain_order >> 14 & 131071 AS index, order_exact FROM transactions")
    assert row == (rich.mark_base, 4, True)
    assert await sql.fetchval("SELECT mark_base FROM pools") == rich.mark_base
    assert (await store.write(Batch([poor]))).duplicates == [poor]
    assert await sql.fetchval("SELECT mark_base FROM transactions") == rich.mark_base


async def test_known_is_never_replaced_by_unknown(store: Store, sql: asyncpg.Connection) -> None:
    """A poorer copy of a launch leaves the token as it is."""
    await store.write(Batch([launch(token_program="Token", payer="Payer")]))
    written = await store.write(Batch([launch(index=None, payer=None)]))
    assert (written.upgraded, len(written.duplicates)) == ([], 1)
    assert await sql.fetchrow("SELECT token_program, payer FROM tokens") == ("Token", "Payer")


async def test_a_launch_that_knows_more_is_an_upgrade(store: Store, sql: asyncpg.Connection) -> None:
    """Members that were NULL are filled, and its place in the block is noted."""
    await store.write(Batch([launch(index=None)]))
    order = await sql.fetchval("SELECT launch_order FROM tokens")
    written = await store.write(Batch([launch(token_program="Token")]))
    assert [upgraded.new for upgraded in written.upgraded] == [launch(token_program="Token")]
    assert await sql.fetchval("SELECT launch_order FROM tokens") > order


async def test_a_trade_of_an_unknown_token_makes_a_stub(store: Store, sql: asyncpg.Connection) -> None:
    """The stub has a mint and a curve, the launch completes it later."""
    await store.write(Batch([trade(slot=SLOT + 5, signature="t")]))
    stub = await sql.fetchrow("SELECT * FROM tokens")
    assert (stub["mint"], stub["name"], stub["launched_at"], stub["platform"]) == (MINT, None, None, "pumpfun")
    assert stub["curve_id"] is not None
    assert (await store.write(Batch([launch()]))).new == [launch()]
    whole = await sql.fetchrow("SELECT * FROM tokens")
    assert (whole["id"], whole["name"], whole["creator"]) == (stub["id"], "Name", CREATOR)
    assert await sql.fetchval("SELECT mark_base FROM pools") == trade().mark_base


async def test_latest_is_by_the_chain_and_not_by_arrival(store: Store, sql: asyncpg.Connection) -> None:
    """An older trade that comes later leaves the pool's reserves alone."""
    await store.write(Batch([trade(slot=SLOT + 9, signature="late", mark_base=9, mark_quote=90, curve_sold=900)]))
    await store.write(Batch([trade(slot=SLOT + 1, signature="early", mark_base=1, mark_quote=10, curve_sold=100)]))
    row = await sql.fetchrow("SELECT mark_base, mark_quote, curve_sold, last_trade_order >> 32 AS slot FROM pools")
    assert row == (9, 90, 900, SLOT + 9)


async def test_a_boost_leaves_less_of_what_a_pool_was_opened_with(store: Store, sql: asyncpg.Connection) -> None:
    """It tells one of the real reserves; the other one stays, in whichever order the two facts come."""
    facts: list[Fact] = [
        pool_created(base_amount=7, quote_amount=90),
        other(pool=POOL, venue="pumpswap", virtual_quote=20, real_quote=70),
    ]
    for fact in reversed(facts):
        await store.write(Batch([fact]))
    assert await sql.fetchrow("SELECT real_base, real_quote, virtual_quote FROM pools") == (7, 70, 20)
    await store.write(Batch([other(pool=POOL, venue="pumpswap", real_base=6, slot=SLOT - 1)]))
    await store.write(Batch([swap(slot=SLOT + 1, signature="t", real_base=8, real_quote=None)]))
    assert await sql.fetchrow("SELECT real_base, real_quote, mark_quote FROM pools") == (8, 70, swap().mark_quote)


async def test_supply_is_that_of_the_latest_trade(store: Store, sql: asyncpg.Connection) -> None:
    """Of the chain, not of arrival: it falls by burns. A copy that is stored already may still tell it."""
    most = (1 << 64) - 1
    steps = [
        (launch(supply=most), most),
        (swap(slot=SLOT + 9, signature="late", supply=70), 70),
        (swap(slot=SLOT + 5, signature="early", supply=80), 70),
        (swap(slot=SLOT + 9, signature="later", index=8, supply=60), 60),
        (other(mint=MINT, slot=SLOT + 10, supply=50), 50),
        (swap(slot=SLOT + 11, signature="poor"), 50),
        (swap(slot=SLOT + 11, signature="poor", supply=40), 40),
    ]
    for fact, supply in steps:
        await store.write(Batch([fact]))
        assert await sql.fetchval("SELECT supply FROM tokens") == supply
    await store.write(Batch([swap(slot=SLOT + at, signature=f"s{at}", supply=at) for at in (13, 14, 12)]))
    assert await sql.fetchrow("SELECT supply, supply_order >> 32 FROM tokens") == (14, SLOT + 14)


async def test_arrival_is_the_order_while_places_are_unknown(store: Store, sql: asyncpg.Connection) -> None:
    """Of two trades of unknown place in a slot the later arrival is the latest, until their places are known."""
    first = trade(signature="first", index=None, mark_base=1)
    second = trade(signature="second", index=None, mark_base=2)
    await store.write(Batch([first]))
    await store.write(Batch([second]))
    assert await sql.fetchval("SELECT mark_base FROM pools") == 2
    assert await sql.fetch("SELECT signature, order_exact FROM transactions ORDER BY chain_order") == [
        ("first", False),
        ("second", False),
    ]
    exact = [msgspec.structs.replace(first, index=8), msgspec.structs.replace(second, index=5)]
    await store.write(Batch(exact))
    assert await sql.fetchval("SELECT mark_base FROM pools") == 1


async def test_other_events_change_only_what_they_name(store: Store, sql: asyncpg.Connection) -> None:
    """Creator, supply, marks and virtual quote follow the latest event; the rest stays."""
    nothing = other(event="Nothing")
    facts = [
        launch(),
        other(mint=MINT, creator="New", slot=SLOT + 2, signature="2"),
        other(mint=MINT, supply=(1 << 64) - 1, slot=SLOT + 3, signature="3"),
        other(mint=MINT, pool=CURVE, mark_base=5, mark_quote=6, slot=SLOT + 3, signature="4"),
        other(pool=CURVE, virtual_quote=-7, slot=SLOT + 3, signature="5"),
        nothing,
    ]
    written = await store.write(Batch(facts))
    assert (written.new, written.other) == ([launch()], facts[1:])
    await store.write(Batch([other(mint=MINT, creator="Older", slot=SLOT + 1)]))
    assert await sql.fetchrow("SELECT name, creator, supply FROM tokens") == ("Name", "New", (1 << 64) - 1)
    assert await sql.fetchrow("SELECT mark_base, mark_quote, virtual_quote, curve_sold FROM pools") == (5, 6, -7, 0)


async def test_the_largest_supply_there_can_be(store: Store, sql: asyncpg.Connection) -> None:
    """Launches of both launchpads may say up to 2^64-1."""
    most = (1 << 64) - 1
    pump, launchpad = built.RAW["pumpfun"], built.RAW["raydium_launchpad"]
    launched = built.Event(pump.event("CreateEvent", timestamp=built.TIME_S, token_total_supply=most))
    curve = ("Linear", {"data": {"supply": most, "total_quote_fund_raising": 5, "migrate_type": 1}})
    accounts = launchpad.accounts("initialize_v2", base_mint=built.key(1), quote_mint=WSOL)
    created = built.Event(launchpad.event("PoolCreateEvent", curve_param=curve))
    calls = [
        built.Call(pump.address, b"", (), (launched,)),
        built.Call(launchpad.address, launchpad.instruction("initialize_v2"), accounts, (created,)),
    ]
    await store.write(Batch(built.facts(*calls)))
    assert await sql.fetch("SELECT supply FROM tokens") == [(most,), (most,)]


async def test_a_row_that_the_database_refuses_becomes_a_fault(store: Store, sql: asyncpg.Connection) -> None:
    """It is found by bisection, its fault has all of it, and the batch goes on."""
    facts = copies(40)
    bad = [
        trade(signature="big", base_amount=1 << 63),
        trade(signature="far", nth=1 << 20),
        launch(decimals=1 << 20),
    ]
    for at, fact in zip((3, 17, 30), bad, strict=True):
        facts.insert(at, fact)
    written = await store.write(Batch(facts))
    assert len(written.new) == 40
    assert [(fault.signature, fault.event) for fault in written.refused] == [
        ("big", "TradeEvent"),
        ("far", "TradeEvent"),
        (SIGNATURE, "CreateEvent"),
    ]
    assert all(fault.reason.startswith("refused: ") for fault in written.refused)
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 40
    rows = await sql.fetch("SELECT fact, payload FROM faults ORDER BY id")
    assert [row["fact"] for row in rows] == ["trade", "trade", "launch"]
    assert msgspec.json.decode(rows[0]["payload"])["base_amount"] == 1 << 63
    again = await store.write(Batch(facts))
    assert (len(again.new), len(again.duplicates), len(again.refused)) == (0, 40, 3)
    assert await sql.fetchval("SELECT count(*) FROM faults") == 3


@pytest.mark.parametrize(
    "bad",
    [
        trade(block_time=None),
        trade(block_time=1 << 62),
        trade(block_time=-5),
        trade(slot=1 << 31),
        trade(slot=-1),
        trade(mint=None),
        trade(trader=None),
        launch(quote_mint=None),
        curve_complete(slot=1 << 70),
    ],
)
async def test_what_no_chain_can_say_becomes_a_fault(store: Store, sql: asyncpg.Connection, bad: Fact) -> None:
    """Facts without a time, a slot or a mint are not stored with a guessed one."""
    good = trade(signature="good")
    written = await store.write(Batch([bad, good]))
    assert (written.new, len(written.refused)) == ([good], 1)
    assert await sql.fetchval("SELECT count(*) FROM faults") == 1


async def test_faults_keep_whole_payloads_and_any_text(store: Store, sql: asyncpg.Connection) -> None:
    """NUL, half surrogates and absurd slots do not keep a fault from being stored."""
    payload = bytes(range(256)) * 50
    facts = [
        fault(payload=payload),
        fault(reason="a\0\ud800", event="\0", slot=1 << 70, block_time=-1, signature="x\0"),
    ]
    assert (await store.write(Batch(facts))).new == facts
    assert await sql.fetchval("SELECT payload FROM faults WHERE signature = $1", SIGNATURE) == payload
    assert await sql.fetchval("SELECT event FROM faults WHERE signature = $1", "x\u2400") == "\u2400"


async def test_names_with_nul_are_stored_with_its_picture(store: Store, sql: asyncpg.Connection) -> None:
    """PostgreSQL text cannot hold NUL."""
    await store.write(Batch([launch(name="a\0b", symbol="\0", uri="\ud800")]))
    assert await sql.fetchrow("SELECT name, symbol, uri FROM tokens") == ("a\u2400b", "\u2400", "\ufffd")


async def test_surplus_bytes_are_kept(store: Store, sql: asyncpg.Connection) -> None:
    """A trade has them in its row, and all facts in `tails`, with the whole event."""
    record = Record(None, (), b"\x01\x02", b"whole\x01\x02")
    await store.write(Batch([launch(record=record), trade(record=record), trade(signature="t")]))
    assert await sql.fetch("SELECT tail FROM transactions ORDER BY tail") == [(b"\x01\x02",), (None,)]
    rows = [(kind, b"\x01\x02", b"whole\x01\x02") for kind in ("launch", "trade")]
    assert await sql.fetch("SELECT fact, tail, payload FROM tails ORDER BY fact") == rows


async def test_everything_of_a_batch_is_in_one_transaction(
    store: Store, sql: asyncpg.Connection, database_url: str
) -> None:
    """When the last statement fails nothing of the batch is there, and it can be written later."""
    await sql.execute("ALTER TABLE batches ADD CONSTRAINT no CHECK (facts <> 3)")
    batch = Batch([launch(), trade(), fault()], progress=[Progress(feed="logs", slot=5)])
    with pytest.raises(asyncpg.CheckViolationError):
        await store.write(batch)
    for table in ("tokens", "pools", "transactions", "faults", "feeds", "batches"):
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == 0
    await sql.execute("ALTER TABLE batches DROP CONSTRAINT no")
    assert len((await store.write(batch)).new) == 3
    assert await sql.fetchval("SELECT id FROM batches") == batch.batch_id


async def test_progress_never_moves_back(store: Store) -> None:
    """A node behind us is stored from, but does not move its feed's progress."""
    for slot in (10, 12, 11):
        written = await store.write(Batch(progress=[Progress(feed="logs", slot=slot, block_time=BLOCK_TIME + slot)]))
        assert written.batch_no is None
    (found,) = await store.progress()
    assert (found.feed, found.slot) == ("logs", 12)
    assert found.block_time is not None
    assert found.block_time.timestamp() == BLOCK_TIME + 12


async def test_holes_are_noted_once_and_filled(store: Store, sql: asyncpg.Connection) -> None:
    """The same open hole is one row; filling it closes it, and the next one is another."""
    of_slots = Hole(first_slot=5, last_slot=9, reason="reconnect", feed="logs")
    of_one = Hole(first_slot=7, last_slot=7, reason="truncated", signature="x")
    for _ in range(2):
        await store.write(Batch(holes=[of_slots, of_one]))
    rows = await sql.fetch("SELECT id, reason FROM holes ORDER BY id")
    assert [row["reason"] for row in rows] == ["reconnect", "truncated"]
    await store.write(Batch(filled=[Filled(by="history", hole_id=rows[0]["id"])]))
    assert await sql.fetchval("SELECT reason FROM holes WHERE filled_at IS NULL") == "truncated"
    await store.write(Batch(filled=[Filled(by="history", hole_id=rows[1]["id"])]))
    assert await sql.fetchval("SELECT count(*) FROM holes WHERE filled_at IS NULL") == 0
    await store.write(Batch(holes=[of_one]))
    assert await sql.fetchval("SELECT count(*) FROM holes") == 3


@pytest.mark.parametrize("block_time", [0, 1_710_000_000, 1_790_000_000, 4_000_000_000])
async def test_any_day_finds_its_partition(store: Store, sql: asyncpg.Connection, block_time: int) -> None:
    """Trades of 1970, of 2024 and of the far future, and days ahead of each."""
    await store.write(Batch([trade(block_time=block_time)]))
    found = await sql.fetchval("SELECT extract(epoch FROM block_time)::bigint FROM transactions")
    assert found == block_time
    if store.edition == "plain":
        assert await sql.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'transactions'::regclass") == 3


async def test_a_dropped_partition_is_made_again(store: Store, sql: asyncpg.Connection) -> None:
    """Somebody dropped the day's partition, or chunk, behind our back."""
    await store.write(Batch([trade()]))
    if store.edition == "plain":
        await sql.execute("DROP TABLE transactions_p20260921")
    else:
        assert len(await sql.fetch("SELECT drop_chunks('transactions', older_than => 'infinity'::timestamptz)")) == 1
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 0
    assert len((await store.write(Batch([trade(signature="again")]))).new) == 1


async def test_empty_batches_cost_nothing(store: Store, sql: asyncpg.Connection) -> None:
    """Nothing to say is no row."""
    written = await store.write(Batch())
    assert (written.batch_no, written.new) == (None, [])
    assert await sql.fetchval("SELECT count(*) FROM batches") == 0


async def test_every_fact_is_in_exactly_one_list(store: Store) -> None:
    """The ledger: given = new + upgraded + duplicates + refused + other."""
    facts = [launch(), trade(), trade(), trade(block_time=None), fault(), fault(), other(), swap(), pool_created()]
    for _ in range(2):
        written = await store.write(Batch(facts))
        others = len(written.duplicates) + len(written.refused) + len(written.other)
        assert len(written.new) + len(written.upgraded) + others == len(facts)


def test_fixtures_are_what_they_seem() -> None:
    """The builders make facts of their kinds."""
    assert isinstance(trade(), Trade)
    assert isinstance(fault(), Fault)
    assert swap().quote_mint == WSOL


async def test_an_id_that_is_given_out_twice_changes_no_other_token(store: Store, sql: asyncpg.Connection) -> None:
    """A sequence behind its table (a restore without it) is told, and no row becomes another one's."""
    await store.write(Batch([launch(), trade(position=9)]))
    before = await sql.fetch("SELECT id, address FROM mints ORDER BY id")
    await sql.execute("SELECT setval(pg_get_serial_sequence('mints', 'id'), 1, FALSE)")
    with pytest.raises(SchemaMismatch, match="given out twice"):
        await store.write(Batch([launch(mint=POOL, pool=CREATOR, signature="another")]))
    assert await sql.fetch("SELECT id, address FROM mints ORDER BY id") == before


async def test_a_buy_that_went_on_in_the_pool_leaves_the_curve_as_it_was(store: Store, sql: asyncpg.Connection) -> None:
    """Its event tells of the reserves of the pool to come: whichever of the two is stored first, even much later."""
    into_curve = trade(mark_base=10, mark_quote=20)
    beyond = trade(event="PostCompleteBuyEvent", mark_base=7, mark_quote=30, synthetic=True)
    await store.write(Batch([launch(), beyond]))
    await store.write(Batch([into_curve]))
    pool = await sql.fetchrow("SELECT mark_base, mark_quote FROM pools")
    assert (pool["mark_base"], pool["mark_quote"]) == (10, 20)


async def test_facts_that_are_refused_together_alone_end_nobody(store: Store, sql: asyncpg.Connection) -> None:
    """The one with which it is too much becomes a fault, and the batch goes on."""
    await sql.execute("""
        CREATE FUNCTION one_of_them() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM transactions WHERE signature IN ('signature3', 'signature7')) > 1
            THEN RAISE check_violation USING MESSAGE = 'these two together'; END IF; RETURN NULL; END $$;
        CREATE TRIGGER one_of_them AFTER INSERT ON transactions FOR EACH STATEMENT EXECUTE FUNCTION one_of_them()
    """)
    written = await store.write(Batch(copies(10)))
    assert (len(written.new), [fault.signature for fault in written.refused]) == (9, ["signature7"])
    assert "these two together" in written.refused[0].reason
