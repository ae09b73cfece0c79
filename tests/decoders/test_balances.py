"""Balances before and after recorded transactions agree with the trades that they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core.types import Graduation, Launch, PoolCreated, Trade
from tests.decoders.built import ALL, USDC, WSOL, said
from tests.decoders.recorded import LAUNCHLAB_AUTHORITY, TRANSACTIONS, lines, needs_data, shown, whole

if TYPE_CHECKING:
    from decoders.core.types import Decoded
    from tests import mainnet


@dataclass(frozen=True)
class Balances:
    """Changes of balances in a recorded transaction, from the node's own answer."""

    lamports: dict[str, int]
    tokens: dict[tuple[str, str], int]  # by owner and mint
    fee: int

    @staticmethod
    def of(line: mainnet.Recorded) -> Balances:
        """Read the node's answer without the code under test."""
        value = line.load()
        message, meta = value["transaction"]["message"], value["meta"]
        keys = [key if isinstance(key, str) else key["pubkey"] for key in message["accountKeys"]]
        if all(isinstance(key, str) for key in message["accountKeys"]):
            loaded = meta.get("loadedAddresses") or {}
            keys += [*loaded.get("writable", ()), *loaded.get("readonly", ())]
        changes = zip(meta["preBalances"], meta["postBalances"], strict=True)
        tokens: dict[tuple[str, str], int] = {}
        for member, sign in (("preTokenBalances", -1), ("postTokenBalances", 1)):
            for entry in meta[member]:
                place = entry["owner"], entry["mint"]
                tokens[place] = tokens.get(place, 0) + sign * int(entry["uiTokenAmount"]["amount"])
        return Balances(
            {key: after - before for key, (before, after) in zip(keys, changes, strict=True)}, tokens, meta["fee"]
        )


WITH_BALANCES = [line for line in TRANSACTIONS if "blocksubscribe" not in line.where]


def trades(line: mainnet.Recorded) -> list[tuple[Trade, Decoded]]:
    """Return the trades of a transaction (each recorded one has at most one) with everything it says."""
    decoded = ALL.decode(whole(line), {})
    return [(fact, decoded) for fact in decoded.facts if isinstance(fact, Trade)]


@pytest.mark.parametrize("line", lines(WITH_BALANCES))
def test_base_balances(line: mainnet.Recorded) -> None:
    """The tokens that a trade says left the pool came to the trader, and the other way round."""
    balances = Balances.of(line)
    for trade, decoded in trades(line):
        sign = 1 if trade.side == "buy" else -1
        vaults = LAUNCHLAB_AUTHORITY if trade.venue == "raydium_launchpad" else trade.pool
        seed = sum(
            (fact.base_amount if isinstance(fact, PoolCreated) else fact.supply) or 0
            for fact in decoded.facts
            if isinstance(fact, (PoolCreated, Launch))
        )
        assert balances.tokens[trade.trader or "", trade.mint or ""] == sign * trade.base_amount
        assert balances.tokens[vaults, trade.mint or ""] == seed - sign * trade.base_amount


@pytest.mark.parametrize("line", [item for item in lines(WITH_BALANCES) if "pump_" not in item.id])
def test_quote_balances(line: mainnet.Recorded) -> None:
    """What the trader paid is what all other holders of the quote got; the pool's part is net of fees."""
    balances = Balances.of(line)
    for trade, _ in trades(line):
        sign = 1 if trade.side == "buy" else -1
        others = {
            owner: change
            for (owner, mint), change in balances.tokens.items()
            if mint == trade.quote_mint and owner != trade.trader
        }
        assert sum(others.values()) == sign * trade.user_quote_amount
        if trade.venue == "pumpswap":
            assert others[trade.pool] == sign * trade.quote_amount + (trade.lp_fee or 0)
            assert trade.user_quote_amount == trade.quote_amount + sign * sum(
                fee or 0 for fee in (trade.lp_fee, trade.protocol_fee, trade.creator_fee, trade.cashback)
            )
        else:  # LaunchLab's fees stay in the vault, or in a second one of the platform's since 2025-08
            kept = others[LAUNCHLAB_AUTHORITY] - trade.quote_amount
            assert kept in ((trade.protocol_fee or 0), (trade.protocol_fee or 0) + (trade.platform_fee or 0))
            fees = (trade.protocol_fee, trade.platform_fee, trade.creator_fee, trade.share_fee)
            assert trade.user_quote_amount == trade.quote_amount + sum(fee or 0 for fee in fees)


@needs_data
def test_quote_balances_of_a_migration() -> None:
    """In the transaction that migrates and buys, the pool gained its seed and the trade."""
    (line,) = (line for line in TRANSACTIONS if "create_pool" in line.where)
    balances = Balances.of(line)
    decoded = ALL.decode(whole(line), {})
    graduation, created, trade = decoded.facts
    assert isinstance(graduation, Graduation)
    assert isinstance(created, PoolCreated)
    assert isinstance(trade, Trade)
    assert created.creator is not None
    assert said(graduation, "to_pool", "base_amount", "quote_amount") == said(
        created, "pool", "base_amount", "quote_amount"
    )
    assert (created.pool, created.canonical, trade.canonical) == (trade.pool, True, True)
    seed = created.quote_amount or 0
    assert balances.tokens[trade.pool, WSOL] == seed + trade.quote_amount + (trade.lp_fee or 0)
    assert balances.tokens[graduation.pool, trade.mint or ""] == -(created.base_amount or 0)
    assert balances.lamports[graduation.pool] == -85_005_359_421 == -(seed + 15_000_001)
    assert balances.lamports[trade.trader or ""] == -(trade.user_quote_amount + balances.fee)


# What happened to lamports in each recorded trade with a curve, beside the trade: tips, and rents of new accounts.
CURVE_TRADES: dict[str, dict[str, Any]] = {
    "transactions/pump_create_v2_buy_exact_sol_in.gettransaction.json#/result": {
        "fees": ["62qc", "A7hA", "J37u"],
        "tips and rents": ["CWiT", "moon", "Cd4i", "Hkug", "uxto"],
        "bytes of the curve": 151,
    },
    "transactions/pump_create_buy_2025.json": {
        "fees": ["62qc", "CBUk"],
        "tips and rents": ["4veK", "8zWJ", "C5zL", "Eb2K", "HHVP"],
        "bytes of the curve": 81,
    },
    "transactions/pump_sell_2025.json": {"fees": ["FWsW", "UKKz"], "tips and rents": ["3AVi"]},
}


@pytest.mark.parametrize("line", [item for item in lines(WITH_BALANCES) if item.id in CURVE_TRADES])
def test_lamports_of_curves(line: mainnet.Recorded) -> None:
    """The curve got or paid quote_amount, the takers of fees their fees, and the trader the rest, to the lamport."""
    found, balances = CURVE_TRADES[line.where], Balances.of(line)
    ((trade, _),) = trades(line)

    def total(names: Any) -> int:
        return sum(change for key, change in balances.lamports.items() if key[:4] in names)

    sign = 1 if trade.side == "buy" else -1
    size = found.get("bytes of the curve")
    rent = 6_960 * (128 + size) if size else 0
    assert balances.lamports[trade.pool] == sign * trade.quote_amount + rent
    fees = (trade.protocol_fee or 0) + (trade.creator_fee or 0) + (trade.cashback or 0)
    assert total(found["fees"]) == fees
    assert trade.user_quote_amount == trade.quote_amount + sign * fees
    paid = balances.fee + total(found["tips and rents"]) + rent
    assert balances.lamports[trade.trader or ""] == -sign * trade.user_quote_amount - paid


@needs_data
def test_balances_of_a_curve_in_usdc() -> None:
    """A curve whose quote is USDC: the quote_* members count, in tokens."""
    (line,) = (line for line in TRANSACTIONS if "pump_buy_v2" in line.where)
    balances = Balances.of(line)
    ((trade, _),) = trades(line)
    assert (trade.quote_mint, shown(trade)["sol_amount"]) == (USDC, "0")
    assert balances.tokens[trade.pool, USDC] == trade.quote_amount
    assert balances.tokens[trade.trader or "", USDC] == -trade.user_quote_amount


@needs_data
def test_every_trade_was_compared() -> None:
    """No recorded trade escapes the tests above."""
    assert sum(len(trades(line)) for line in WITH_BALANCES) == 19
    assert set(CURVE_TRADES) <= {line.where for line in WITH_BALANCES}
