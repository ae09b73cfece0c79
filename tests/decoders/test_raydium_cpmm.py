"""CPMM swaps and new pools, BUILT from the layouts of PROTOCOLS.md (A.5); of swaps two bare events are recorded."""

from __future__ import annotations

from typing import Any

import pytest

from decoders.core.types import Need, PoolCreated, PoolInfo, TokenBalance, Trade
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

CPMM = RAW["raydium_cpmm"]
MINT, OTHER, POOL, USER, CREATOR = (key(number) for number in range(1, 6))
OLDEST_BYTES = 89
SWAPPED: dict[str, Any] = {
    "pool_id": POOL,
    "input_vault_before": 85_000_000_000,
    "output_vault_before": 206_900_000_000_000,
    "input_amount": 1_000_000,
    "output_amount": 2_420_000_000,
    "base_input": True,
    "input_mint": WSOL,
    "output_mint": MINT,
    "trade_fee": 2_500,
}
SOLD: dict[str, Any] = {
    **SWAPPED,
    "input_vault_before": 206_900_000_000_000,
    "output_vault_before": 85_000_000_000,
    "input_amount": 2_420_000_000,
    "output_amount": 990_000,
    "trade_fee": 6_050_000,
    "input_mint": MINT,
    "output_mint": WSOL,
}


def swapped(*, depth: int = 1, size: int | None = None, known: bool = True, **values: Any) -> Call:
    """Return a swap, called by routers down to `depth`; `size` cuts the event to an older layout."""
    fields = {**SWAPPED, **values}
    event = Event(CPMM.event("SwapEvent", **fields)[:size], "log")
    accounts = CPMM.accounts(
        "swap_base_input", payer=USER, pool_state=POOL, input_token_mint=fields["input_mint"],
        output_token_mint=fields["output_mint"],
    )  # fmt: skip
    call = Call(CPMM.address, CPMM.instruction("swap_base_input"), accounts if known else (), (event,))
    for _ in range(depth - 1):
        call = Call(ROUTER, b"route", (), (call,))
    return call


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_buy(depth: int) -> None:
    """The trade fee is taken from what goes in; trader and mints stand in accounts and event."""
    (trade,) = facts(swapped(depth=depth))
    assert isinstance(trade, Trade)
    assert said(trade, "mint", "pool", "trader", "side", "quote_mint") == (MINT, POOL, USER, "buy", WSOL)
    assert said(trade, "base_amount", "quote_amount", "user_quote_amount") == (2_420_000_000, 997_500, 1_000_000)
    assert said(trade, "mark_base", "mark_quote") == (206_897_580_000_000, 85_001_000_000)
    assert said(trade, "real_base", "real_quote") == (206_897_580_000_000, 85_001_000_000)
    assert said(trade, "lp_fee", "creator_fee", "platform", "flipped") == (2_500, None, None, False)
    assert trade.block_time == TIME_S


def test_sell() -> None:
    """Of a sale the trade fee is taken in tokens: it is no fee in the quote."""
    (trade,) = facts(swapped(**SOLD))
    assert said(trade, "side", "base_amount", "quote_amount", "user_quote_amount") == (
        "sell", 2_413_950_000, 990_000, 990_000,
    )  # fmt: skip
    assert said(trade, "mark_base", "mark_quote") == (206_902_420_000_000, 84_999_010_000)
    assert said(trade, "lp_fee", "creator_fee") == (None, 0)


def test_decimals() -> None:
    """The token's stand in the balances of the transaction."""
    (trade,) = facts(swapped(), token_balances=(TokenBalance(key(30), MINT, None, 1, 2, 8),))
    assert said(trade, "decimals", "quote_decimals") == (8, 9)


@pytest.mark.parametrize(
    ("swap", "amounts", "fee"),
    [
        ({**SWAPPED, "creator_fee_on_input": True}, (2_420_000_000, 996_500, 1_000_000), 1_000),
        ({**SWAPPED, "creator_fee_on_input": False}, (2_420_001_000, 997_500, 1_000_000), None),
        ({**SOLD, "creator_fee_on_input": True}, (2_413_949_000, 990_000, 990_000), None),
        ({**SOLD, "creator_fee_on_input": False}, (2_413_950_000, 991_000, 990_000), 1_000),
    ],
    ids=["buy, in SOL", "buy, in tokens", "sell, in tokens", "sell, in SOL"],
)
def test_creator_fee(swap: dict[str, Any], amounts: tuple[int, ...], fee: int | None) -> None:
    """A creator's fee is taken from the side it applies to, and leaves the reserves."""
    (trade,) = facts(swapped(**swap, creator_fee=1_000))
    assert said(trade, "base_amount", "quote_amount", "user_quote_amount") == amounts
    assert said(trade, "creator_fee") == (fee,)
    (free,) = facts(swapped(**swap))
    assert isinstance(trade, Trade)
    assert isinstance(free, Trade)
    lost = [getattr(free, side) - getattr(trade, side) for side in ("mark_base", "mark_quote")]
    assert sorted(lost) == [0, 1_000]


def test_transfer_fees() -> None:
    """A Token-2022 transfer fee is paid by the user and never reaches the pool, or never reaches the user."""
    (bought,) = facts(swapped(input_transfer_fee=7))
    assert said(bought, "quote_amount", "user_quote_amount") == (997_500, 1_000_007)
    (sold,) = facts(swapped(**SOLD, output_transfer_fee=7))
    assert said(sold, "quote_amount", "user_quote_amount") == (990_000, 989_993)


@pytest.mark.parametrize("quote", [WSOL, USDC])
@pytest.mark.parametrize("bought", [True, False])
def test_oldest_layout(quote: str, bought: bool) -> None:
    """Before 2025-08 the event names no mints and no fee: the accounts tell the mints, the fee stays in the amount."""
    mints: dict[str, Any] = (
        {"input_mint": quote, "output_mint": MINT} if bought else {"input_mint": MINT, "output_mint": quote}
    )
    (trade,) = facts(swapped(size=OLDEST_BYTES, **mints))
    assert said(trade, "mint", "quote_mint", "side", "lp_fee", "creator_fee") == (
        MINT, quote, "buy" if bought else "sell", None, None,
    )  # fmt: skip
    assert isinstance(trade, Trade)
    assert {trade.base_amount, trade.quote_amount} == {1_000_000, 2_420_000_000}


class TestWhichSide:
    """Which of the two is the launched token: the map of pools knows, else money is the quote."""

    def test_map_of_pools(self) -> None:
        """The map decides over money, and between two tokens neither or both of which are money."""
        for mint, quote in ((WSOL, USDC), (USDC, WSOL), (OTHER, MINT), (MINT, OTHER)):
            info = PoolInfo(POOL, "raydium_cpmm", mint, quote, platform="raydium_launchpad")
            (trade,) = facts(swapped(input_mint=quote, output_mint=mint), pools={POOL: info})
            assert said(trade, "mint", "quote_mint", "side", "platform") == (mint, quote, "buy", "raydium_launchpad")
            (trade,) = facts(swapped(input_mint=mint, output_mint=quote), pools={POOL: info})
            assert said(trade, "mint", "quote_mint", "side") == (mint, quote, "sell")

    @pytest.mark.parametrize("mints", [(OTHER, MINT), (WSOL, USDC)])
    def test_neither_decides(self, mints: tuple[str, str]) -> None:
        """Where neither tells, the trade is partial and the pool is wanted."""
        decoded = ALL.decode(notice(swapped(input_mint=mints[0], output_mint=mints[1])), {})
        (trade,) = decoded.partial
        assert said(trade, "mint", "quote_mint", "trader", "pool") == (None, None, USER, POOL)
        assert decoded.needs == [Need(SIGNATURE, SLOT, "pool", "raydium_cpmm", POOL)]

    def test_log_lines_alone(self) -> None:
        """Log lines do not name the trader: the transaction is wanted."""
        for pools in ({}, {POOL: PoolInfo(POOL, "raydium_cpmm", MINT, WSOL)}):
            decoded = ALL.decode(notice(swapped(), carriers="log"), pools)
            (trade,) = decoded.partial
            assert said(trade, "mint", "quote_mint", "trader") == (MINT, WSOL, None)
            assert decoded.needs == [Need(SIGNATURE, SLOT, "accounts", "raydium_cpmm")]

    def test_old_log_lines_alone(self) -> None:
        """An old event names no mint, so that even for a known pool its side is unknown."""
        pools = {POOL: PoolInfo(POOL, "raydium_cpmm", MINT, WSOL)}
        (trade,) = ALL.decode(notice(swapped(size=OLDEST_BYTES), carriers="log"), pools).partial
        assert said(trade, "mint", "trader") == (None, None)

    def test_accounts_that_tell_nothing(self) -> None:
        """So it is in a whole copy whose instruction is unknown."""
        decoded = ALL.decode(notice(swapped(size=OLDEST_BYTES, known=False)), {})
        assert [need.reason for need in decoded.needs] == ["accounts"]


@pytest.mark.parametrize(
    "lie",
    [
        {"trade_fee": 1_000_001},
        {"creator_fee": 1_000_000, "creator_fee_on_input": True},
        {"output_transfer_fee": 2_420_000_001},
        {"output_vault_before": 2_419_999_999},
        {"input_vault_before": (1 << 63) - 1},
        {"input_amount": (1 << 64) - 1},
    ],
)
def test_impossible_amounts(lie: dict[str, Any]) -> None:
    """Fees beyond the amounts, and amounts beyond the vaults or a BIGINT, are faults."""
    (fault,) = facts(swapped(**lie))
    assert fault.kind == "fault"


@pytest.mark.parametrize("instruction", ["initialize", "initialize_with_permission"])
@pytest.mark.parametrize("first", [True, False])
def test_created(instruction: str, first: bool) -> None:
    """A new pool emits no event: accounts and arguments tell it, whichever side the token stands on."""
    mints = (MINT, WSOL) if first else (WSOL, MINT)
    amounts = (5, 7) if first else (7, 5)
    call = Call(
        CPMM.address,
        CPMM.instruction(instruction, init_amount_0=amounts[0], init_amount_1=amounts[1]),
        CPMM.accounts(instruction, creator=CREATOR, pool_state=POOL, token_0_mint=mints[0], token_1_mint=mints[1]),
    )
    balances = (TokenBalance(key(20), MINT, POOL, None, 5, 6), TokenBalance(key(21), WSOL, POOL, 0, 7, 9))
    (created,) = facts(call, token_balances=balances)
    assert isinstance(created, PoolCreated)
    assert said(created, "event", "pool", "mint", "quote_mint", "creator") == (instruction, POOL, MINT, WSOL, CREATOR)
    assert said(created, "base_amount", "quote_amount", "decimals", "quote_decimals") == (5, 7, 6, 9)
    assert said(created, "flipped", "canonical", "platform", "block_time") == (False, False, None, TIME_S)
    (bare,) = facts(call)
    assert said(bare, "decimals", "quote_decimals") == (None, 9)


def test_created_of_two_tokens() -> None:
    """Of two tokens that are no money the map of pools tells the launched one; else the pool is wanted."""
    accounts = CPMM.accounts("initialize", pool_state=POOL, token_0_mint=MINT, token_1_mint=OTHER)
    call = Call(CPMM.address, CPMM.instruction("initialize"), accounts)
    decoded = ALL.decode(notice(call), {})
    assert (decoded.facts, decoded.partial) == ([], [])
    assert decoded.needs == [Need(SIGNATURE, SLOT, "pool", "raydium_cpmm", POOL)]
    info = PoolInfo(POOL, "raydium_cpmm", OTHER, MINT, platform="raydium_launchpad")
    (created,) = facts(call, pools={POOL: info})
    assert said(created, "mint", "quote_mint", "platform") == (OTHER, MINT, "raydium_launchpad")


def test_created_with_too_few_accounts() -> None:
    """An account list that ends early is a fault."""
    (fault,) = facts(Call(CPMM.address, CPMM.instruction("initialize"), (key(1),) * 4))
    assert said(fault, "kind", "reason") == ("fault", "initialize has too few accounts")


@pytest.mark.parametrize(
    ("mints", "wanted"),
    [
        ((MINT, WSOL), (MINT, WSOL)),
        ((WSOL, MINT), (MINT, WSOL)),
        ((MINT, OTHER), (MINT, OTHER)),
        ((USDC, WSOL), (USDC, WSOL)),
    ],
)
def test_account(mints: tuple[str, str], wanted: tuple[str, str]) -> None:
    """A pool's account tells its token; of two that could be, the first."""
    whole = CPMM.account("PoolState", token_0_mint=mints[0], token_1_mint=mints[1])
    assert ALL.decode_account(POOL, CPMM.address, whole) == PoolInfo(POOL, "raydium_cpmm", *wanted)
    assert ALL.decode_account(POOL, CPMM.address, whole[:200]) is None


def test_liquidity() -> None:
    """Liquidity that comes or goes is counted."""
    (other,) = facts(Call(CPMM.address, b"", (), (Event(CPMM.event("LpChangeEvent"), "log"),)))
    assert said(other, "kind", "event") == ("other", "LpChangeEvent")
