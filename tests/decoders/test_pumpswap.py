"""PumpSwap events that nobody recorded, BUILT from the layouts of PROTOCOLS.md (A.2)."""

from __future__ import annotations

from typing import Any

import pytest
from solders.pubkey import Pubkey

from decoders.core.types import Fault, Need, Other, PoolCreated, PoolInfo, TokenBalance, Trade
from tests.decoders import borsh
from tests.decoders.built import (
    ALL,
    RAW,
    ROUTER,
    SIGNATURE,
    SLOT,
    TIME_S,
    USDC,
    WSOL,
    Call,
    Event,
    facts,
    key,
    notice,
    said,
)

SWAP, PUMP = RAW["pumpswap"], RAW["pumpfun"]
MINT, POOL, USER, CREATOR = (key(number) for number in range(1, 5))
KNOWN = {POOL: PoolInfo(POOL, "pumpswap", MINT, WSOL, platform="pumpfun", canonical=True)}
FLIPPED = {POOL: PoolInfo(POOL, "pumpswap", MINT, WSOL, flipped=True)}

BOUGHT = {
    "pool": POOL,
    "user": USER,
    "user_base_token_account": key(20),
    "protocol_fee_recipient": key(21),
    "pool_base_token_reserves": 200_000_000,
    "pool_quote_token_reserves": 80_000_000,
    "base_amount_out": 1_000_000,
    "quote_amount_in": 400_000,
    "lp_fee": 800,
    "protocol_fee": 200,
    "coin_creator_fee": 300,
    "cashback": 50,
    "quote_amount_in_with_lp_fee": 400_800,
    "user_quote_amount_in": 401_350,
    "virtual_quote_reserves": 17_000_000,
    "ix_name": "buy",
}
SOLD = {
    "pool": POOL,
    "user": USER,
    "user_base_token_account": key(20),
    "protocol_fee_recipient": key(21),
    "pool_base_token_reserves": 200_000_000,
    "pool_quote_token_reserves": 80_000_000,
    "base_amount_in": 1_000_000,
    "quote_amount_out": 400_000,
    "lp_fee": 800,
    "protocol_fee": 200,
    "coin_creator_fee": 300,
    "quote_amount_out_without_lp_fee": 399_200,
    "user_quote_amount_out": 398_700,
    "virtual_quote_reserves": -3_000_000,
}


def emitted(name: str, **values: Any) -> Event:
    """Return an event of now."""
    return Event(SWAP.event(name, **{"timestamp": TIME_S, **values}))


def ran(instruction: str, *events: Event, accounts: dict[str, str] | None = None, more: tuple[str, ...] = ()) -> Call:
    """Return an instruction that emits events."""
    return Call(
        SWAP.address, SWAP.instruction(instruction), SWAP.accounts(instruction, **accounts or {}) + more, events
    )


def canonical(mint: str, quote: str) -> tuple[str, str]:
    """Return the pool to which a mint's curve graduates and its opener, by their seeds (PROTOCOLS.md, D)."""
    raw = [bytes(Pubkey.from_string(address)) for address in (mint, quote)]
    opener, _ = Pubkey.find_program_address([b"pool-authority", raw[0]], Pubkey.from_string(PUMP.address))
    pool, _ = Pubkey.find_program_address([b"pool", b"\0\0", bytes(opener), *raw], Pubkey.from_string(SWAP.address))
    return str(pool), str(opener)


@pytest.mark.parametrize("ix_name", ["buy", "buy_exact_quote_in", "buy_v2", "buy_exact_quote_in_v2", "multi_hop_swap"])
def test_buy(ix_name: str) -> None:
    """What entered the reserves is net of fees; the two user amounts swap their meaning with ix_name."""
    amounts = {"quote_amount_in": 401_350, "user_quote_amount_in": 400_000} if "exact" in ix_name else {}
    (trade,) = facts(ran("buy", emitted("BuyEvent", **{**BOUGHT, **amounts, "ix_name": ix_name})), pools=KNOWN)
    assert isinstance(trade, Trade)
    assert said(trade, "mint", "pool", "trader", "side", "quote_mint") == (MINT, POOL, USER, "buy", WSOL)
    assert said(trade, "base_amount", "quote_amount", "user_quote_amount") == (1_000_000, 400_000, 401_350)
    assert said(trade, "mark_base", "mark_quote") == (199_000_000, 80_000_000 + 17_000_000 + 400_800)
    assert said(trade, "real_base", "real_quote") == (199_000_000, 80_400_800)
    assert said(trade, "lp_fee", "protocol_fee", "creator_fee", "cashback") == (800, 200, 300, 50)
    assert said(trade, "organic", "synthetic", "flipped", "canonical", "platform") == (
        True, False, False, True, "pumpfun",
    )  # fmt: skip
    assert (trade.curve_sold, trade.curve_total) == (None, None)


def test_sell_with_negative_virtual_reserves() -> None:
    """Kept fees make the virtual reserves negative; the effective ones price the pool."""
    (trade,) = facts(ran("sell_v2", emitted("SellEvent", **SOLD)), pools=KNOWN)
    assert said(trade, "side", "base_amount", "quote_amount", "user_quote_amount") == (
        "sell", 1_000_000, 400_000, 398_700,
    )  # fmt: skip
    assert said(trade, "mark_base", "mark_quote") == (201_000_000, 80_000_000 - 3_000_000 - 400_000 + 800)


@pytest.mark.parametrize(
    ("event", "values", "real", "virtual"),
    [("BuyEvent", BOUGHT, 80_400_800, 17_000_000), ("SellEvent", SOLD, 79_600_800, -3_000_000)],
)
def test_fees_kept(event: str, values: dict[str, Any], real: int, virtual: int) -> None:
    """Fees without a recipient stay in the vault and are taken off the virtual reserves; the buyback part leaves."""
    kept = {**values, "protocol_fee_recipient": borsh.ZERO_KEY, "buyback_fee": 150}
    (trade,) = facts(ran("buy_v2", emitted(event, **kept)), pools=KNOWN)
    assert said(trade, "real_quote", "mark_quote") == (real + 50 + 300, real + virtual)


def test_oldest_layout() -> None:
    """Trades of early 2025 know no creator fee, no cashback and no virtual reserves."""
    whole = SWAP.event("SellEvent", timestamp=TIME_S, **SOLD)
    (trade,) = facts(Call(SWAP.address, b"", (), (Event(whole[:312]),)), pools=KNOWN)
    assert said(trade, "creator_fee", "cashback", "mark_quote") == (None, None, 80_000_000 - 400_000 + 800)


@pytest.mark.parametrize(
    ("field", "value", "real"),
    [("virtual_quote_reserves", -(10**9), 79_600_800), ("pool_quote_token_reserves", 0, 0)],
)
def test_no_price(field: str, value: int, real: int) -> None:
    """Reserves below zero, which only bytes that lie can give, make no price."""
    (trade,) = facts(ran("sell", emitted("SellEvent", **{**SOLD, field: value})), pools=KNOWN)
    assert said(trade, "mark_base", "mark_quote") == (None, None)
    assert said(trade, "real_quote") == (real,)


@pytest.mark.parametrize(("base_supply", "supply"), [(5, 5), ((1 << 64) - 1, (1 << 64) - 1), (0, None)])
@pytest.mark.parametrize(("event", "values"), [("BuyEvent", BOUGHT), ("SellEvent", SOLD)])
def test_supply(base_supply: int, supply: int | None, event: str, values: dict[str, Any]) -> None:
    """A trade tells the supply of the pool's base, which of a flipped pool is money's; 0 says nothing."""
    call = ran("buy", emitted(event, **values, base_supply=base_supply))
    for pools, wanted in ((KNOWN, supply), (FLIPPED, None)):
        (trade,) = facts(call, pools=pools)
        assert said(trade, "supply") == (wanted,)
    (partial,) = ALL.decode(notice(call, carriers="log"), {}).partial
    assert said(partial, "supply") == (None,)


def test_decimals() -> None:
    """Pump.fun's coins have 6; other tokens and quotes stand in the balances of a whole copy, or are unknown."""
    other = {POOL: PoolInfo(POOL, "pumpswap", MINT, USER)}
    balances = (TokenBalance(key(30), MINT, None, 1, 2, 8), TokenBalance(key(31), USER, None, 1, 2, 4))
    call = ran("buy", emitted("BuyEvent", **BOUGHT))
    for pools, given, wanted in (
        (KNOWN, (), (6, 9)),
        (FLIPPED, (), (None, 9)),
        (FLIPPED, balances, (8, 9)),
        (other, balances, (8, 4)),
    ):
        (trade,) = facts(call, pools=pools, token_balances=given)
        assert said(trade, "decimals", "quote_decimals") == wanted
    (partial,) = ALL.decode(notice(call, carriers="log"), {}).partial
    assert said(partial, "decimals", "quote_decimals") == (None, None)


def test_pool_from_accounts() -> None:
    """Without a map of pools the instruction's accounts tell the mints, and the address whether it is canonical."""
    pool, _ = canonical(MINT, WSOL)
    for address, is_canonical in ((pool, True), (POOL, False)):
        event = emitted("BuyEvent", **{**BOUGHT, "pool": address})
        (trade,) = facts(ran("buy", event, accounts={"base_mint": MINT, "quote_mint": WSOL}))
        assert said(trade, "mint", "quote_mint", "canonical", "platform") == (
            MINT, WSOL, is_canonical, "pumpfun" if is_canonical else None,
        )  # fmt: skip


def test_unknown_pool() -> None:
    """Log lines alone do not tell the mint: the trade is partial, and the pool is wanted."""
    decoded = ALL.decode(notice(ran("buy", emitted("BuyEvent", **BOUGHT)), carriers="log"), {})
    assert [said(fact, "pool", "mint", "quote_mint", "trader") for fact in decoded.partial] == [
        (POOL, None, None, USER)
    ]
    assert decoded.needs == [Need(SIGNATURE, SLOT, "pool", "pumpswap", POOL)]


@pytest.mark.parametrize("instruction", [b"", b"\xff" * 8])
def test_unknown_instruction(instruction: bytes) -> None:
    """So it is if the instruction is one that the IDL does not know."""
    call = Call(SWAP.address, instruction, (key(1),) * 30, (emitted("BuyEvent", **BOUGHT),))
    decoded = ALL.decode(notice(call), {})
    assert [need.reason for need in decoded.needs] == ["pool"]


def test_too_few_accounts() -> None:
    """So it is if the instruction's accounts end early."""
    call = Call(SWAP.address, SWAP.instruction("buy"), (key(1),) * 3, (emitted("BuyEvent", **BOUGHT),))
    assert [need.reason for need in ALL.decode(notice(call), {}).needs] == ["pool"]


def test_multi_hop() -> None:
    """One multi_hop_swap says one trade per hop; each hop's mints stand among the remaining accounts."""
    other, second = key(6), key(7)
    hops = (MINT, WSOL, POOL, key(8), key(9), other, WSOL, second, key(10), key(11))
    sold = emitted("SellEvent", **SOLD)
    bought = emitted("BuyEvent", **{**BOUGHT, "pool": second, "ix_name": "multi_hop_swap"})
    found = facts(ran("multi_hop_swap", sold, bought, more=hops))
    assert [said(trade, "event", "nth", "mint", "pool", "side") for trade in found] == [
        ("SellEvent", 0, MINT, POOL, "sell"),
        ("BuyEvent", 0, other, second, "buy"),
    ]


def test_multi_hop_of_another_pool() -> None:
    """A pool that is not among the hops stays unknown."""
    more = (MINT, WSOL, key(30), key(8), key(9), key(10))
    decoded = ALL.decode(notice(ran("multi_hop_swap", emitted("SellEvent", **SOLD), more=more)), {})
    assert [need.pool for need in decoded.needs] == [POOL]


def test_multi_hop_over_a_curve() -> None:
    """A hop over a curve is a trade of Pump.fun, numbered on its own."""
    hop = Call(
        PUMP.address,
        PUMP.instruction("multi_hop_curve_swap"),
        (),
        (Event(PUMP.event("TradeEvent", mint=MINT, timestamp=TIME_S, virtual_token_reserves=1)),),
    )
    call = ran("multi_hop_swap", more=(MINT, WSOL, POOL, key(8), key(9)))
    whole = Call(ROUTER, b"", (), (Call(call.program, call.data, call.accounts, (emitted("SellEvent", **SOLD), hop)),))
    assert [said(trade, "venue", "nth", "mint") for trade in facts(whole)] == [
        ("pumpswap", 0, MINT),
        ("pumpfun", 0, MINT),
    ]


def test_boost_burn() -> None:
    """A boost burn is a trade that no one asked for, then a change of the pool's reserves."""
    burned = {**BOUGHT, "lp_fee": 0, "protocol_fee": 0, "coin_creator_fee": 0, "cashback": 0}
    burned |= {
        "user_base_token_account": borsh.ZERO_KEY,
        "quote_amount_in_with_lp_fee": 400_000,
        "user_quote_amount_in": 400_000,
    }
    trade, other = facts(
        ran(
            "boost_buy_and_burn",
            emitted("BuyEvent", **burned),
            emitted(
                "BoostBuyAndBurnEvent", mint=MINT, pool=POOL, virtual_quote_reserves=16_600_000,
                real_quote_reserves_after=80_400_000, base_reserves_after=199_000_000,
            ),
            accounts={"base_mint": MINT, "quote_mint": WSOL},
        )
    )  # fmt: skip
    assert isinstance(trade, Trade)
    assert said(trade, "organic", "side", "user_quote_amount") == (False, "buy", 400_000)
    assert isinstance(other, Other)
    assert said(other, "mint", "pool", "mark_base", "mark_quote", "virtual_quote") == (
        MINT, POOL, 199_000_000, 97_000_000, 16_600_000,
    )  # fmt: skip
    assert said(other, "real_base", "real_quote") == (199_000_000, 80_400_000)


def test_init_boost() -> None:
    """A boost tells the pool's virtual reserves, and what it left of the real ones; what no BIGINT holds is a fault."""
    boost = emitted(
        "InitBoostEvent", mint=MINT, pool=POOL, virtual_quote_reserves=17, real_quote_reserves_after=67_405_853_790
    )
    (other,) = facts(ran("init_boost", boost))
    assert said(other, "kind", "mint", "pool", "virtual_quote") == ("other", MINT, POOL, 17)
    assert said(other, "real_base", "real_quote") == (None, 67_405_853_790)
    (fault,) = facts(ran("init_boost", emitted("InitBoostEvent", mint=MINT, virtual_quote_reserves=-(1 << 64))))
    assert isinstance(fault, Fault)
    assert fault.mint == MINT


def test_a_trade_that_no_bigint_holds_names_its_token() -> None:
    """By the pool that it names, if that is known; what it cannot hold otherwise is no matter of the token."""
    huge = emitted("BuyEvent", **{**BOUGHT, "quote_amount_in": 1 << 63})
    told = [facts(ran("buy", huge), pools=pools)[0] for pools in (FLIPPED, {})]
    assert [said(fault, "kind", "mint") for fault in told] == [("fault", MINT), ("fault", None)]


class TestFlipped:
    """A pool whose base is money and whose quote is the launched token."""

    def test_buying_the_base_is_selling_the_token(self) -> None:
        """Amounts, reserves and side are told of the token."""
        (trade,) = facts(ran("buy", emitted("BuyEvent", **BOUGHT)), pools=FLIPPED)
        assert said(trade, "mint", "quote_mint", "side", "flipped") == (MINT, WSOL, "sell", True)
        assert said(trade, "base_amount", "quote_amount", "user_quote_amount") == (400_000, 1_000_000, 1_000_000)
        assert said(trade, "mark_base", "mark_quote") == (97_400_800, 199_000_000)
        assert said(trade, "real_base", "real_quote") == (80_400_800, 199_000_000)

    def test_selling_the_base_is_buying_the_token(self) -> None:
        """And the other way round."""
        (trade,) = facts(ran("sell", emitted("SellEvent", **SOLD)), pools=FLIPPED)
        assert said(trade, "side", "base_amount", "quote_amount") == ("buy", 400_000, 1_000_000)

    @pytest.mark.parametrize(
        ("base", "quote", "flipped"), [(WSOL, MINT, True), (USDC, WSOL, False), (MINT, CREATOR, False)]
    )
    def test_accounts(self, base: str, quote: str, flipped: bool) -> None:
        """A pool stands flipped where its base is money and its quote is none."""
        info = ALL.decode_account(POOL, SWAP.address, SWAP.account("Pool", base_mint=base, quote_mint=quote))
        assert info is not None
        assert info.flipped == flipped
        assert (info.mint, info.quote_mint) == ((quote, base) if flipped else (base, quote))

    def test_created(self) -> None:
        """Amounts and decimals of a new pool are told of the token as well."""
        (created,) = facts(
            ran(
                "create_pool",
                emitted(
                    "CreatePoolEvent", creator=CREATOR, base_mint=WSOL, quote_mint=MINT, base_mint_decimals=9,
                    quote_mint_decimals=6, pool_base_amount=5, pool_quote_amount=7, pool=POOL,
                ),
            )
        )  # fmt: skip
        assert isinstance(created, PoolCreated)
        assert said(created, "mint", "quote_mint", "flipped", "canonical") == (MINT, WSOL, True, False)
        assert said(created, "base_amount", "quote_amount", "decimals", "quote_decimals") == (7, 5, 6, 9)


def test_created_by_a_graduation() -> None:
    """A pool opened by the mint's pool authority is the mint's own; another one of the same mint is not."""
    pool, opener = canonical(MINT, USDC)
    for address, is_canonical in ((pool, True), (POOL, False)):
        (created,) = facts(
            ran(
                "create_pool", emitted("CreatePoolEvent", creator=opener, base_mint=MINT, quote_mint=USDC, pool=address)
            )
        )
        assert said(created, "canonical", "platform", "creator") == (
            is_canonical, "pumpfun" if is_canonical else None, opener,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ("SetBondingCurveCoinCreatorEvent", "coin_creator"),
        ("SetMetaplexCoinCreatorEvent", "coin_creator"),
        ("AdminSetCoinCreatorEvent", "new_coin_creator"),
        ("MigratePoolCoinCreatorEvent", "new_coin_creator"),
        ("AdminCtoPoolEvent", "new_coin_creator"),
    ],
)
def test_new_creator(event: str, field: str) -> None:
    """Events that change a token's creator say so."""
    (other,) = facts(Call(SWAP.address, b"", (), (emitted(event, base_mint=MINT, pool=POOL, **{field: CREATOR}),)))
    assert said(other, "kind", "event", "mint", "pool", "creator") == ("other", event, MINT, POOL, CREATOR)


def test_sweep() -> None:
    """A sweep of kept fees is counted and changes nothing: the virtual reserves rise as the real ones fall."""
    (other,) = facts(ran("sweep_protocol_fee", emitted("SweepPoolFeeEvent", pool=POOL, amount=5)))
    assert said(other, "kind", "pool", "mark_quote") == ("other", None, None)


def test_shortest_pool_account() -> None:
    """An account that ends before the mints is none."""
    whole = SWAP.account("Pool", base_mint=MINT, quote_mint=WSOL)
    assert ALL.decode_account(POOL, SWAP.address, whole[:60]) is None
