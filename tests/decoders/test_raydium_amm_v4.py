"""AMM v4 swaps and new pools, BUILT from the layouts of PROTOCOLS.md (A.6); recorded are three bare logs."""

from __future__ import annotations

from typing import Any

import pytest

from decoders.core.base58 import decode
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
    Line,
    facts,
    key,
    notice,
    said,
)

AMM = RAW["raydium_amm_v4"]
MINT, POOL, USER = (key(number) for number in range(1, 4))
KNOWN = {POOL: PoolInfo(POOL, "raydium_amm_v4", MINT, WSOL, platform="raydium_launchpad")}
FLIPPED = {POOL: PoolInfo(POOL, "raydium_amm_v4", MINT, WSOL, flipped=True)}
PC_IN, COIN_IN = 1, 2
RESERVES = {"pool_coin": 200_000_000_000, "pool_pc": 80_000_000_000}


def swapped(instruction: str, *, depth: int = 1, drop: int = 0, **values: Any) -> Call:
    """Return a swap, called by routers down to `depth`; `drop` accounts are left out of the middle."""
    exact_in = "_in" in instruction
    event = Event(AMM.event("SwapBaseInLog" if exact_in else "SwapBaseOutLog", **{**RESERVES, **values}), "ray")
    accounts = AMM.accounts(instruction, amm=POOL, user_owner=USER)
    call = Call(AMM.address, AMM.instruction(instruction), accounts[:4] + accounts[4 + drop :], (event,))
    for _ in range(depth - 1):
        call = Call(ROUTER, b"route", (), (call,))
    return call


@pytest.mark.parametrize("instruction", ["swap_base_in", "swap_base_in_v2"])
@pytest.mark.parametrize(("depth", "drop"), [(1, 0), (2, 0), (3, 0), (1, 1)])
def test_buy(instruction: str, depth: int, drop: int) -> None:
    """Pool and trader are the second and the last account, of each list; 0.25 % stay with the pool."""
    call = swapped(instruction, depth=depth, drop=drop, direction=PC_IN, amount_in=1_000_001, out_amount=2_493_000)
    (trade,) = facts(call, pools=KNOWN)
    assert isinstance(trade, Trade)
    assert said(trade, "mint", "pool", "trader", "side", "quote_mint") == (MINT, POOL, USER, "buy", WSOL)
    assert said(trade, "base_amount", "quote_amount", "user_quote_amount") == (2_493_000, 997_500, 1_000_001)
    assert said(trade, "lp_fee", "platform", "flipped") == (2_501, "raydium_launchpad", False)
    assert said(trade, "mark_base", "mark_quote") == (199_997_507_000, 80_001_000_001)
    assert said(trade, "real_base", "real_quote", "block_time") == (199_997_507_000, 80_001_000_001, TIME_S)


@pytest.mark.parametrize("instruction", ["swap_base_out", "swap_base_out_v2"])
def test_sell(instruction: str) -> None:
    """Of a sale the fee is taken in tokens."""
    call = swapped(instruction, direction=COIN_IN, deduct_in=2_500_000, amount_out=997_000)
    (trade,) = facts(call, pools=KNOWN)
    assert said(trade, "side", "base_amount", "quote_amount", "user_quote_amount", "lp_fee") == (
        "sell", 2_493_750, 997_000, 997_000, None,
    )  # fmt: skip
    assert said(trade, "mark_base", "mark_quote") == (200_002_500_000, 79_999_003_000)


def test_flipped() -> None:
    """Where the token is the pc side, coin in means buying it."""
    buy = swapped("swap_base_in", direction=COIN_IN, amount_in=1_000_000, out_amount=398_000)
    (trade,) = facts(buy, pools=FLIPPED, token_balances=(TokenBalance(key(30), MINT, None, 1, 2, 8),))
    assert said(trade, "decimals", "quote_decimals") == (8, 9)
    assert said(trade, "side", "base_amount", "quote_amount", "user_quote_amount", "lp_fee") == (
        "buy", 398_000, 997_500, 1_000_000, 2_500,
    )  # fmt: skip
    assert said(trade, "flipped", "mark_base", "mark_quote") == (True, 79_999_602_000, 200_001_000_000)
    sell = swapped("swap_base_in", direction=PC_IN, amount_in=1_000_000, out_amount=2_490_000)
    (trade,) = facts(sell, pools=FLIPPED)
    assert said(trade, "side", "base_amount", "quote_amount", "lp_fee") == ("sell", 997_500, 2_490_000, None)


def test_unknown_pool() -> None:
    """Neither log nor accounts name the mints: the trade is partial, and the pool is wanted."""
    decoded = ALL.decode(notice(swapped("swap_base_in", direction=PC_IN, amount_in=5, out_amount=6)), {})
    (trade,) = decoded.partial
    assert said(trade, "mint", "quote_mint", "pool", "trader") == (None, None, POOL, USER)
    assert decoded.needs == [Need(SIGNATURE, SLOT, "pool", "raydium_amm_v4", POOL)]


@pytest.mark.parametrize("event", ["SwapBaseInLog", "InitLog"])
def test_log_lines_alone(event: str) -> None:
    """A log names not even its pool: nothing can be told but that the transaction is wanted."""
    values = {"direction": PC_IN} if event == "SwapBaseInLog" else {}
    call = Call(AMM.address, b"", (), (Event(AMM.event(event, **values), "ray"),))
    for carriers in ("log", "log cpi"):
        decoded = ALL.decode(notice(call, carriers=carriers), KNOWN)
        assert (decoded.facts, decoded.partial) == ([], [])
        assert decoded.needs == [Need(SIGNATURE, SLOT, "accounts", "raydium_amm_v4")]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"direction": 3}, "SwapBaseInLog: unknown direction 3"),
        ({"direction": PC_IN, "out_amount": 200_000_000_001}, "amount -1 is negative"),
        ({"direction": PC_IN, "amount_in": 1 << 63}, "is beyond 2^63-1"),
    ],
)
def test_impossible_logs(values: dict[str, int], reason: str) -> None:
    """Directions that there are not, and amounts beyond the reserves or a BIGINT, are faults."""
    (fault,) = facts(swapped("swap_base_in", **values), pools=KNOWN)
    assert fault.kind == "fault"
    assert getattr(fault, "reason", "").endswith(reason)


@pytest.mark.parametrize("payload", ["!", "", "CQ=="])
def test_unreadable_ray_log(payload: str) -> None:
    """A ray_log that is no base64, empty or of an unknown type is a fault."""
    call = Call(AMM.address, b"", (), (Line(f"Program log: ray_log: {payload}"),))
    decoded = ALL.decode(notice(call, carriers="log"), {})
    assert [fact.kind for fact in decoded.facts] == ["fault"]


@pytest.mark.parametrize(("coin", "pc", "flipped"), [(MINT, WSOL, False), (WSOL, MINT, True), (USDC, WSOL, False)])
def test_created(coin: str, pc: str, flipped: bool) -> None:
    """A new pool: its log tells amounts and decimals, the instruction its accounts."""
    event = Event(AMM.event("InitLog", pc_decimals=9, coin_decimals=6, pc_amount=7, coin_amount=5), "ray")
    accounts = AMM.accounts("initialize2", amm=POOL, coin_mint=coin, pc_mint=pc, user_wallet=USER)
    (created,) = facts(Call(AMM.address, AMM.instruction("initialize2"), accounts, (event,)))
    assert isinstance(created, PoolCreated)
    assert said(created, "event", "pool", "creator", "flipped", "canonical") == ("InitLog", POOL, USER, flipped, False)
    assert said(created, "mint", "quote_mint") == ((pc, coin) if flipped else (coin, pc))
    assert said(created, "base_amount", "quote_amount", "decimals", "quote_decimals") == (
        (7, 5, 9, 6) if flipped else (5, 7, 6, 9)
    )


def test_liquidity() -> None:
    """Liquidity that comes or goes is counted."""
    events = (Event(AMM.event("DepositLog"), "ray"), Event(AMM.event("WithdrawLog"), "ray"))
    assert [said(fact, "kind", "event") for fact in facts(Call(AMM.address, b"", (), events))] == [
        ("other", "DepositLog"),
        ("other", "WithdrawLog"),
    ]


@pytest.mark.parametrize(("coin", "pc", "flipped"), [(MINT, WSOL, False), (WSOL, MINT, True)])
def test_account(coin: str, pc: str, flipped: bool) -> None:
    """An AmmInfo has no discriminator: its size and owner tell it, and its mints stand at bytes 400 and 432."""
    data = bytes(400) + decode(coin) + decode(pc) + bytes(752 - 464)
    info = ALL.decode_account(POOL, AMM.address, data)
    assert info == PoolInfo(POOL, "raydium_amm_v4", MINT, WSOL, flipped=flipped)
    assert ALL.decode_account(POOL, AMM.address, data + b"\0") is None
    assert ALL.decode_account(POOL, AMM.address, bytes(752)) is None
    assert ALL.decode_account(POOL, RAW["raydium_cpmm"].address, data) is None
