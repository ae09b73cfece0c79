"""What is read back is what was written, in the units that people use."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import asyncpg

from decoders.core.types import WSOL, PoolInfo
from monitor.store.batch import Batch, Progress
from tests.store.facts import (
    BLOCK_TIME,
    CURVE,
    MINT,
    POOL,
    SLOT,
    curve_complete,
    graduation,
    launch,
    other,
    pool_created,
    swap,
    trade,
)

if TYPE_CHECKING:
    from monitor.store.store import Store

USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"


async def test_pools_are_loaded_with_their_platform(store: Store) -> None:
    """Curves and pools, with token, quote and launchpad; a pool whose token is not known yet is none."""
    await store.write(Batch([launch(), pool_created(flipped=True), other(pool="unknown", virtual_quote=5)]))
    pools = await store.load_pools()
    assert pools == {
        CURVE: PoolInfo(CURVE, "pumpfun", MINT, WSOL, "pumpfun", flipped=False, canonical=False),
        POOL: PoolInfo(POOL, "pumpswap", MINT, WSOL, "pumpfun", flipped=True, canonical=True),
    }
    assert await store.known_pools([POOL, "unknown"]) == {POOL: pools[POOL]}
    assert list(await store.load_pools(limit=1)) == [POOL]


async def test_status_of_an_empty_database(store: Store) -> None:
    """Nothing is None or 0."""
    status = await store.status()
    assert (status.newest_slot, status.newest_block_time, status.launches) == (None, None, 0)
    assert status.rows["mints"] >= 0
    assert status.progress == ()


async def test_status(store: Store) -> None:
    """Counts, newest trade, progress by feed."""
    await store.write(
        Batch(
            [launch(), trade(), graduation(), trade(slot=SLOT + 3, signature="t", block_time=BLOCK_TIME + 1)],
            progress=[Progress(feed="logs", slot=SLOT, program="pumpfun"), Progress(feed="blocks", slot=SLOT)],
        )
    )
    status = await store.status()
    assert (status.launches, status.graduations, status.newest_slot) == (1, 1, SLOT + 3)
    assert status.newest_block_time is not None
    assert status.newest_block_time.timestamp() == BLOCK_TIME + 1
    assert [(feed.feed, feed.program) for feed in status.progress] == [("blocks", "*"), ("logs", "pumpfun")]
    assert set(status.rows) >= {"tokens", "transactions", "pools"}


async def test_rows_are_estimated_over_partitions(store: Store, database_url: str) -> None:
    """The estimate counts every partition."""
    await store.write(Batch([trade(signature=f"s{day}", block_time=BLOCK_TIME + day * 86_400) for day in range(3)]))
    connection = await asyncpg.connect(database_url)
    await connection.execute("ANALYZE")
    await connection.close()
    assert (await store.status()).rows["transactions"] == 3


async def test_recent_launches(store: Store) -> None:
    """Price in quote tokens per token, market cap in quote tokens, progress in percent."""
    await store.write(Batch([launch(), trade()]))
    (row,) = await store.recent_launches(5)
    assert (row.mint, row.symbol, row.quote_symbol, row.platform, row.curve) == (MINT, "SYM", "SOL", "pumpfun", CURVE)
    price = Decimal(31_000_000_000).scaleb(-9) / Decimal(1_038_387_096_774_194).scaleb(-6)
    assert row.price is not None
    assert abs(row.price / price - 1) < Decimal("1e-12")
    assert row.market_cap is not None
    assert abs(row.market_cap / (price * 1_000_000_000) - 1) < Decimal("1e-12")
    assert row.progress_percent == Decimal("4.3643")
    assert await store.recent_launches(5, platform="raydium_launchpad") == []
    assert await store.recent_launches(5, mint=MINT) == [row]


async def test_recent_trades(store: Store) -> None:
    """Amounts in whole tokens; no price where no base moved."""
    await store.write(Batch([launch(), trade(), trade(signature="z", base_amount=0, slot=SLOT + 1)]))
    newest, first = await store.recent_trades(5)
    assert (newest.signature, newest.price) == ("z", None)
    assert (first.side, first.quote_amount, first.user_quote_amount) == ("buy", Decimal(1), Decimal("1.0125"))
    assert first.base_amount == Decimal("34612903.225806")
    assert first.price is not None
    assert f"{first.price:.12f}" == "0.000000028891"
    assert await store.recent_trades(1) == [newest]
    assert await store.recent_trades(5, mint="other") == []
    assert await store.recent_trades(5, venue="pumpfun", mint=MINT) == [newest, first]


async def test_a_trade_tells_decimals(store: Store, sql: asyncpg.Connection) -> None:
    """A token whose launch was not seen, and a quote that nobody launched, are shown in units once a trade tells."""
    await store.write(Batch([trade(quote_mint="odd")]))
    await store.write(Batch([trade(quote_mint="odd", decimals=6, quote_decimals=2)]))
    (row,) = await store.recent_trades(5)
    assert (row.base_amount, row.quote_amount) == (Decimal("34612903.225806"), Decimal(10_000_000))
    assert row.price is not None
    await store.write(Batch([trade(signature="t", quote_mint="odd", decimals=7, quote_decimals=3)]))
    await store.write(Batch([trade(signature="u", quote_mint="odd")]))
    assert await sql.fetch("SELECT decimals FROM tokens") == [(6,)]
    assert await sql.fetch("SELECT decimals FROM mints WHERE address IN ($1, 'odd') ORDER BY 1", MINT) == [(2,), (6,)]


async def test_launches_and_graduations_tell_decimals(store: Store, sql: asyncpg.Connection) -> None:
    """Of the quote as well, and of a token whose launch was not seen."""
    await store.write(Batch([launch(quote_mint="odd", quote_decimals=3)]))
    await store.write(
        Batch([graduation(mint="stub", pool="c", to_pool="p", quote_mint="q", decimals=6, quote_decimals=4)])
    )
    rows = await sql.fetch("SELECT address, decimals FROM mints WHERE address IN ('odd', 'stub', 'q') ORDER BY 1")
    assert rows == [("odd", 3), ("q", 4), ("stub", 6)]
    (row,) = await store.graduations(1)
    assert (row.seed_base, row.seed_quote) == (Decimal(206_900_000), Decimal("8499035.9056"))


async def test_what_has_no_curve_has_no_progress(store: Store, sql: asyncpg.Connection) -> None:
    """A pool sells no share of anything, and of a fixed curve the launch does not tell what it sells."""
    await store.write(Batch([swap(), launch(mint="fixed", pool="curve", curve_kind="fixed", for_sale=None)]))
    (row,) = await store.recent_trades(5)
    assert row.progress_percent is None
    (launched,) = await store.recent_launches(5)
    assert launched.progress_percent is None
    assert await sql.fetch("SELECT progress_percent FROM pool_prices WHERE progress_percent IS NOT NULL") == []


async def test_what_has_unknown_decimals_has_no_amount(store: Store) -> None:
    """Nothing is shown in guessed units."""
    await store.write(Batch([trade(quote_mint="odd")]))
    (row,) = await store.recent_trades(5)
    assert (row.symbol, row.base_amount, row.quote_amount, row.price, row.quote_symbol) == (
        None,
        None,
        None,
        None,
        "odd",
    )


async def test_other_quotes(store: Store) -> None:
    """A coin quoted in USDC is priced in USDC."""
    await store.write(Batch([launch(quote_mint=USDC), trade(quote_mint=USDC, quote_amount=2_500_000)]))
    (row,) = await store.recent_trades(5)
    assert (row.quote_symbol, row.quote_amount) == ("USDC", Decimal("2.5"))


async def test_graduations(store: Store) -> None:
    """From where to where, with the seed of the new pool and its price now."""
    later = {"slot": SLOT + 9, "signature": "g", "block_time": BLOCK_TIME + 9}
    facts = [launch(), curve_complete(), pool_created(**later), graduation(**later, position=9)]
    await store.write(Batch([*facts, swap(**{**later, "signature": "s"}, mark_base=10**6, mark_quote=10**9)]))
    (row,) = await store.graduations(5)
    assert (row.mint, row.curve, row.pool, row.pool_venue, row.signature) == (MINT, CURVE, POOL, "pumpswap", "g")
    assert (row.seed_base, row.seed_quote) == (Decimal(206_900_000), Decimal("84.990359056"))
    assert (row.price, row.market_cap) == (Decimal(1), Decimal(1_000_000_000))
    (launched,) = await store.recent_launches(5)
    assert (launched.price, launched.progress_percent, launched.graduated_at) == (
        Decimal(1),
        Decimal(100),
        row.graduated_at,
    )


async def test_the_first_slot_of_some_with_trades(store: Store) -> None:
    """Both ends included."""
    trades = [trade(slot=SLOT + at, signature=f"t{at}", block_time=BLOCK_TIME + at) for at in (0, 5, 9)]
    await store.write(Batch(trades))
    asked = [(SLOT - 9, SLOT + 20), (SLOT + 1, SLOT + 9), (SLOT + 9, SLOT + 9), (SLOT + 10, SLOT + 20)]
    assert [await store.first_slot(*ends) for ends in asked] == [SLOT, SLOT + 5, SLOT + 9, None]
