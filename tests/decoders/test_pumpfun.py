"""Pump.fun events that nobody recorded, BUILT from the layouts of PROTOCOLS.md (A.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from solders.pubkey import Pubkey

from decoders.core.errors import LayoutError
from decoders.core.types import CurveComplete, Graduation, Launch, Other, TokenBalance, Trade
from tests.decoders import borsh
from tests.decoders.built import ALL, RAW, ROUTER, TIME_S, USDC, WSOL, Call, Event, facts, key, said

if TYPE_CHECKING:
    from decoders.core.layout import Layout
    from decoders.core.types import Fact

PUMP = RAW["pumpfun"]
MINT, CURVE, USER, CREATOR, POOL = (key(number) for number in range(1, 6))


def emitted(name: str, /, **values: Any) -> Event:
    """Return an event of now."""
    return Event(PUMP.event(name, **{"timestamp": TIME_S, **values}))


def ran(instruction: str, *events: Event, depth: int = 1) -> Call:
    """Return an instruction that emits events, called by routers down to `depth`."""
    call = Call(PUMP.address, PUMP.instruction(instruction), PUMP.accounts(instruction), events)
    for _ in range(depth - 1):
        call = Call(ROUTER, b"route", (), (call,))
    return call


def one(event: str, /, **values: Any) -> Fact:
    """Return the fact of one event."""
    (fact,) = facts(Call(PUMP.address, b"", (), (emitted(event, **values),)))
    return fact


def curve_of(mint: str) -> str:
    """Return a mint's bonding curve."""
    seeds = [b"bonding-curve", bytes(Pubkey.from_string(mint))]
    return str(Pubkey.find_program_address(seeds, Pubkey.from_string(PUMP.address))[0])


SOL_TRADE = {
    "mint": MINT,
    "user": USER,
    "is_buy": True,
    "sol_amount": 1_000_000,
    "token_amount": 35_000_000_000,
    "virtual_sol_reserves": 30_001_000_000,
    "virtual_token_reserves": 1_072_965_000_000_000,
    "real_sol_reserves": 1_000_000,
    "real_token_reserves": 793_065_000_000_000,
    "fee": 9_500,
    "creator_fee": 3_000,
    "quote_amount": 1_000_000,
    "virtual_quote_reserves": 30_001_000_000,
    "real_quote_reserves": 1_000_000,
}
USDC_TRADE = {
    **SOL_TRADE,
    "quote_mint": USDC,
    "sol_amount": 0,
    "virtual_sol_reserves": 0,
    "real_sol_reserves": 0,
    "virtual_quote_reserves": 4_293_000_000,
}


@pytest.mark.parametrize("instruction", ["buy_v2", "buy_v3", "buy_exact_quote_in_v2", "buy_exact_quote_in_v3"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_buy(instruction: str, depth: int) -> None:
    """Trades of every version and depth are alike; fees come on top. The zero key as quote means SOL."""
    (trade,) = facts(ran(instruction, emitted("TradeEvent", **SOL_TRADE), depth=depth))
    assert isinstance(trade, Trade)
    assert said(trade, "mint", "pool", "trader", "side", "quote_mint") == (MINT, curve_of(MINT), USER, "buy", WSOL)
    assert said(trade, "base_amount", "quote_amount", "user_quote_amount") == (35_000_000_000, 1_000_000, 1_012_500)
    assert said(trade, "mark_base", "mark_quote") == (1_072_965_000_000_000, 30_001_000_000)
    assert said(trade, "real_base", "real_quote") == (793_065_000_000_000, 1_000_000)
    assert said(trade, "curve_sold", "curve_total") == (35_000_000_000, 793_100_000_000_000)
    assert said(trade, "protocol_fee", "creator_fee", "cashback", "lp_fee") == (9_500, 3_000, 0, None)
    assert said(trade, "organic", "synthetic", "flipped", "canonical") == (True, False, False, None)
    assert trade.block_time == TIME_S


def test_sell() -> None:
    """Of a sale the fees come off; a cashback takes the creator's share."""
    trade = one("TradeEvent", **{**SOL_TRADE, "is_buy": False, "creator_fee": 0, "cashback": 3_000})
    assert said(trade, "side", "user_quote_amount", "cashback") == ("sell", 987_500, 3_000)


@pytest.mark.parametrize(("mayhem", "supply"), [(False, 10**15), (True, 2 * 10**15)])
def test_supply_of_a_launch(mayhem: bool, supply: int) -> None:
    """Of a mayhem coin twice the supply that the event says is minted: as much again is the mayhem agent's."""
    launch = one("CreateEvent", mint=MINT, token_total_supply=10**15, is_mayhem_mode=mayhem)
    assert said(launch, "supply", "is_mayhem") == (supply, mayhem)


def test_decimals() -> None:
    """Every coin has 6; those of another quote stand in the balances of a whole copy."""
    call = ran("buy_v3", emitted("TradeEvent", **{**SOL_TRADE, "quote_mint": key(9)}))
    balances = (TokenBalance(key(30), key(8), None, 1, 2, 3), TokenBalance(key(31), key(9), None, 1, 2, 4))
    for carriers, decimals in (("log", None), ("log cpi", 4)):
        (trade,) = facts(call, carriers=carriers, token_balances=balances if decimals else ())
        assert said(trade, "decimals", "quote_decimals") == (6, decimals)
    assert said(one("TradeEvent", **SOL_TRADE), "decimals", "quote_decimals") == (6, 9)
    assert said(one("TradeEvent", **USDC_TRADE), "decimals", "quote_decimals") == (6, 6)
    assert said(one("CreateEvent", mint=MINT), "decimals", "quote_decimals") == (6, 9)
    assert said(one("PostCompleteBuyEvent", mint=MINT), "decimals", "quote_decimals") == (6, 9)
    assert said(one("CompletePumpAmmMigrationEvent", mint=MINT), "decimals", "quote_decimals") == (6, 9)


def test_sell_of_dust() -> None:
    """Fees are rounded up each: of one lamport nothing is left for the seller, and not less than nothing."""
    trade = one("TradeEvent", **{**SOL_TRADE, "is_buy": False, "sol_amount": 1, "fee": 1, "creator_fee": 1})
    assert said(trade, "quote_amount", "user_quote_amount") == (1, 0)


def test_fees_kept() -> None:
    """A v3 trade, whose fees stay on the curve, names no recipient; its running bucket is no fee of this trade."""
    trade = one("TradeEvent", **SOL_TRADE, fee_recipient=borsh.ZERO_KEY, creator_fee_unclaimed=5_000_000)
    assert said(trade, "protocol_fee", "creator_fee", "user_quote_amount") == (9_500, 3_000, 1_012_500)


def test_other_quote() -> None:
    """Of a curve in USDC the sol_* members are zero, and the quote_* members count."""
    trade = one("TradeEvent", **USDC_TRADE)
    assert said(trade, "quote_mint", "quote_amount", "mark_quote", "real_quote") == (
        USDC,
        1_000_000,
        4_293_000_000,
        1_000_000,
    )


def test_mayhem_agent_fills_the_curve() -> None:
    """A mayhem agent may sell the curve more than it ever sold: nothing is sold then, never less than nothing."""
    trade = one("TradeEvent", **{**SOL_TRADE, "real_token_reserves": 900_000_000_000_000})
    assert said(trade, "curve_sold", "real_base") == (0, 900_000_000_000_000)


def test_no_tokens() -> None:
    """A trade of no tokens has no executed price, and empty reserves no mark price; it is a trade all the same."""
    trade = one("TradeEvent", **{**SOL_TRADE, "token_amount": 0, "virtual_token_reserves": 0})
    assert said(trade, "base_amount", "mark_base", "mark_quote") == (0, None, None)


def test_huge_virtual_reserves() -> None:
    """Reserves beyond a BIGINT are halved together: the price stays."""
    trade = one("TradeEvent", **{**SOL_TRADE, "virtual_token_reserves": 1 << 63, "virtual_sol_reserves": 1 << 40})
    assert said(trade, "mark_base", "mark_quote") == (1 << 62, 1 << 39)
    trade = one("TradeEvent", **{**SOL_TRADE, "virtual_token_reserves": 1, "virtual_sol_reserves": 1 << 63})
    assert said(trade, "mark_base", "mark_quote") == (None, None)


def test_launch() -> None:
    """A launch of 2026-10 with all of its flags."""
    launch = one(
        "CreateEvent", name="Nul\0", symbol="N\0", uri="https://x", mint=MINT, bonding_curve=CURVE, user=USER,
        creator=CREATOR, virtual_token_reserves=1_073 * 10**12, virtual_quote_reserves=4_292_000_000,
        real_token_reserves=793_100_000_000_000, token_total_supply=10**15, token_program=key(8), is_mayhem_mode=True,
        is_cashback_enabled=True, quote_mint=USDC, creator_fee_bps=300, is_holder_reward=True, depth=2,
    )  # fmt: skip
    assert isinstance(launch, Launch)
    assert said(launch, "mint", "pool", "creator", "payer", "quote_mint") == (MINT, CURVE, CREATOR, USER, USDC)
    assert said(launch, "name", "symbol", "uri", "decimals", "supply") == ("Nul\0", "N\0", "https://x", 6, 2 * 10**15)
    assert said(launch, "mark_base", "mark_quote", "for_sale") == (1_073 * 10**12, 4_292_000_000, 793_100_000_000_000)
    assert said(launch, "is_mayhem", "is_cashback", "is_holder_reward") == (True, True, True)
    assert said(launch, "creator_fee_bps", "depth", "migrate_to", "token_program") == (300, 2, "pumpswap", key(8))


def test_launch_of_the_oldest_layout() -> None:
    """Launches before 2025-04 end after the user: that is the creator, and reserves, flags and time are unknown."""
    whole = PUMP.event("CreateEvent", name="a", symbol="b", uri="c", mint=MINT, bonding_curve=CURVE, user=USER)
    data = whole[: 8 + 3 * 5 + 3 * 32]
    (launch,) = facts(Call(PUMP.address, b"", (), (Event(data),)))
    assert isinstance(launch, Launch)
    assert said(launch, "creator", "quote_mint", "block_time") == (USER, WSOL, TIME_S)
    assert said(launch, "mark_base", "for_sale", "supply", "is_mayhem", "depth") == (None,) * 5


def test_completing_buy() -> None:
    """The buy that empties a curve, with what it asked beyond: three facts, and the buyer's total is their sum."""
    trade, complete, rest = facts(
        ran(
            "buy_v3",
            emitted("TradeEvent", **{**SOL_TRADE, "real_token_reserves": 0}),
            emitted("CompleteEvent", user=USER, mint=MINT, bonding_curve=CURVE),
            emitted(
                "PostCompleteBuyEvent", user=USER, mint=MINT, bonding_curve=CURVE, base_out=46_463_173_329,
                quote_in=19_093_581, fee=181_390, creator_fee=57_281, pool_base_reserves_before=206_900_000_000_000,
                pool_quote_reserves_before=84_990_359_056, pool_base_reserves_after=206_853_536_826_671,
                pool_quote_reserves_after=85_009_452_637,
            ),
        )
    )  # fmt: skip
    assert isinstance(trade, Trade)
    assert trade.curve_sold == trade.curve_total == 793_100_000_000_000
    assert isinstance(complete, CurveComplete)
    assert said(complete, "mint", "pool", "trader", "quote_mint") == (MINT, CURVE, USER, WSOL)
    assert isinstance(rest, Trade)
    assert said(rest, "synthetic", "organic", "side", "pool", "trader") == (True, True, "buy", CURVE, USER)
    assert said(rest, "base_amount", "quote_amount") == (46_463_173_329, 19_093_581)
    assert said(rest, "mark_base", "mark_quote") == (206_853_536_826_671, 85_009_452_637)
    assert said(rest, "protocol_fee", "creator_fee") == (181_390, 57_281)
    # quote_in is said without fees here; where it is said with them, it is what the user paid.
    assert rest.user_quote_amount == 19_093_581 + 181_390 + 57_281


def test_synthetic_migration() -> None:
    """After a PostCompleteBuy the pool's seed has fewer tokens and more SOL, as that buy left them."""
    graduation = one(
        "CompletePumpAmmMigrationEvent", user=USER, mint=MINT, bonding_curve=CURVE, pool=POOL,
        mint_amount=206_853_536_826_671, sol_amount=85_009_452_637, pool_migration_fee=15_000_001,
    )  # fmt: skip
    assert isinstance(graduation, Graduation)
    assert said(graduation, "mint", "pool", "to_pool", "to_venue", "payer") == (MINT, CURVE, POOL, "pumpswap", USER)
    assert said(graduation, "base_amount", "quote_amount", "quote_mint") == (206_853_536_826_671, 85_009_452_637, WSOL)


def test_impossible_post_complete_buy() -> None:
    """Reserves that go the wrong way are a fault, not a trade of negative amounts."""
    fact = one("PostCompleteBuyEvent", user=USER, mint=MINT, pool_base_reserves_after=1)
    assert (fact.kind, getattr(fact, "reason", None)) == ("fault", "amount -1 is negative")


def test_mayhem_reserves() -> None:
    """Virtual reserves that change without a trade change the mark price."""
    other = one("UpdateMayhemVirtualParamsEvent", mint=MINT, new_virtual_token_reserves=7, new_virtual_sol_reserves=9)
    assert isinstance(other, Other)
    assert said(other, "mint", "pool", "mark_base", "mark_quote") == (MINT, curve_of(MINT), 7, 9)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ("SetCreatorEvent", "creator"),
        ("SetMetaplexCreatorEvent", "creator"),
        ("MigrateBondingCurveCreatorEvent", "new_creator"),
        ("AdminCtoEvent", "new_creator"),
        ("AdminSetCreatorEvent", "new_creator"),
    ],
)
def test_new_creator(event: str, field: str) -> None:
    """Events that change a token's creator say so."""
    other = one(event, mint=MINT, bonding_curve=CURVE, **{field: CREATOR})
    assert isinstance(other, Other)
    assert said(other, "event", "mint", "pool", "creator") == (event, MINT, CURVE, CREATOR)


def test_sweep() -> None:
    """A sweep of fees is counted and changes nothing: its SOL had left the reserves' price before."""
    other = one("SweepBondingCurveFeeEvent", mint=MINT, bonding_curve=CURVE, amount=5, bucket=1)
    assert isinstance(other, Other)
    assert said(other, "mint", "pool", "creator", "mark_base", "virtual_quote") == (None,) * 5


def test_curve_account_names_no_mint() -> None:
    """A bonding curve's account does not tell its mint, so it tells no pool."""
    assert ALL.decode_account(CURVE, PUMP.address, PUMP.account("BondingCurve")) is None


@pytest.mark.parametrize(
    ("event", "last", "kind"),
    [
        ("CreateEvent", "virtual_token_reserves", "launch"),
        ("CreateEvent", "quote_mint", "launch"),
        ("TradeEvent", "quote_mint", "fault"),
        ("TradeEvent", "virtual_quote_reserves", "fault"),
    ],
)
def test_records_that_end_where_no_layout_did(event: str, last: str, kind: str) -> None:
    """A record may end after any field: what follows from the missing ones is not known (fuzzing found it)."""
    data = RAW["pumpfun"].event(event, timestamp=TIME_S, quote_mint=USDC, virtual_token_reserves=5)
    layout = ALL.programs[RAW["pumpfun"].address].events[data[:8]].layout
    ends = [end for end in range(8, len(data)) if _last(layout, data[:end]) == last]
    (fact,) = ALL.decode_event(RAW["pumpfun"].address, data[: ends[0]]).facts
    assert fact.kind == kind
    assert getattr(fact, "mark_quote", None) is None


def _last(layout: Layout, data: bytes) -> str | None:
    """Return the last field of a record, None if it ends inside one."""
    try:
        values = layout.read(data, 8).values
    except LayoutError:
        return None
    return layout.fields[sum(value is not None for value in values) - 1].name
