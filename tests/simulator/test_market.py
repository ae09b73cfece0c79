"""The market obeys its own rules: nothing is made from nothing, and the ledger says what happened."""

from __future__ import annotations

from collections import Counter

import pytest

from decoders.core.registry import load
from simulator import keys, ledger
from simulator.bank import RENT_OF_TOKEN_ACCOUNT, TokenAccount
from simulator.chain import Chain, Rules
from simulator.data import read_idl
from simulator.keys import text
from simulator.market import Market
from simulator.venues import pumpfun
from simulator.venues.cpmm import CpmmPool
from simulator.venues.launchlab import LaunchPool
from simulator.venues.pumpfun import Curve
from simulator.venues.pumpswap import Pool
from tests.simulator.reading import differences

# Thousands of transactions for each.
pytestmark = pytest.mark.slow

RENT = RENT_OF_TOKEN_ACCOUNT
NAMES = ("pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm")


def run(seed: int, count: int) -> tuple[Market, Chain]:
    """Return a market after `count` transactions."""
    market = Market(seed)
    chain = Chain(market, seed, Rules())
    while chain.produced < count:
        chain.next_slot(100)
    return market, chain


@pytest.fixture(scope="module")
def market() -> Market:
    """Return a market in which everything has happened already."""
    return run(11, 9_000)[0]


def test_everything_happens(market: Market) -> None:
    """The market shows every kind of event."""
    said = {name for _, name in market.world.ledger.events}
    assert said >= {
        "CreateEvent", "TradeEvent", "CompleteEvent", "PostCompleteBuyEvent", "CompletePumpAmmMigrationEvent",
        "CreatePoolEvent", "InitBoostEvent", "BuyEvent", "SellEvent", "BoostBuyAndBurnEvent", "PoolCreateEvent",
        "migrate_to_cpswap", "initialize_with_permission", "SwapEvent", "SweepBondingCurveFeeEvent",
    }  # fmt: skip
    kinds = market.world.ledger.transactions
    assert all(kinds[kind] for kind in ("failed", "noise", "forged", "chatty", "bundle", "launch", "migration"))
    launches = market.world.ledger.of(ledger.Launch)
    assert {launch.quote_mint for launch in launches} >= {keys.WSOL, keys.USDC, keys.USD1}
    assert {launch.curve_kind for launch in launches} == {"constant", "fixed", "linear"}
    assert any(launch.is_mayhem for launch in launches)
    assert any(launch.is_cashback for launch in launches)
    assert any(launch.is_holder_reward for launch in launches)
    assert max(trade.said.nth for trade in market.world.ledger.of(ledger.Trade)) >= 1


@pytest.mark.parametrize("seed", [2, 3])
def test_money_is_conserved(seed: int) -> None:
    """All lamports came from outside, each mint's accounts add up to its supply, and wrapped SOL is backed."""
    bank = run(seed, 2_500)[0].world.bank
    assert sum(bank.lamports.values()) == bank.granted_lamports
    assert min(bank.lamports.values()) >= 0
    held: Counter[bytes] = Counter()
    for address, account in bank.tokens.items():
        assert account.amount >= 0
        held[account.mint] += account.amount
        if account.mint == keys.WSOL:
            assert bank.lamports[address] == RENT + account.amount
    assert all(held[mint] == found.supply for mint, found in bank.mints.items() if mint != keys.WSOL)


def test_reserves_are_what_accounts_hold(market: Market) -> None:
    """Each curve's and pool's reserves equal its accounts' balances, kept fees and virtual amounts set apart."""
    bank, world = market.world.bank, market.world
    for pool in world.ledger.pools.values():
        match pool:
            case Curve():
                kept = pool.unclaimed_creator + pool.unclaimed_protocol
                quote = 0 if pool.migrated else pool.real_quote + pool.post_quote_in
                held = bank.lamports[pool.address] - RENT if pool.is_sol else bank.amount(pool.quote_vault)
                assert held == quote + kept
                assert bank.amount(pool.vault) == (
                    0 if pool.migrated else pool.real_tokens + pumpfun.SEED - pool.post_base_out
                )
            case Pool():
                assert bank.amount(pool.base_vault) == pool.base
                assert bank.amount(pool.quote_vault) == pool.quote_amount
                assert bank.amount(world.ata(pool.boost_authority, pool.quote)) == pool.boost_left
            case LaunchPool():
                assert bank.amount(pool.base_vault) == (0 if pool.migrated else pool.supply - pool.sold)
                assert bank.amount(pool.quote_vault) == (0 if pool.migrated else pool.raised) + pool.protocol_fees
            case CpmmPool():
                assert bank.amount(pool.base_vault) == pool.base + pool.accrued.get("base", 0)
                assert bank.amount(pool.quote_vault) == pool.quote_amount + pool.accrued.get("quote", 0)


def test_curves_keep_their_formula(market: Market) -> None:
    """Virtual and real reserves of a pump.fun curve differ by its start values; no product ever fell."""
    for pool in market.world.ledger.pools.values():
        if isinstance(pool, Curve):
            start = pumpfun.VIRTUAL_SOL if pool.is_sol else pumpfun.VIRTUAL_USDC
            assert pool.virtual_quote - pool.real_quote == start
            assert pool.virtual_tokens - pool.real_tokens == pumpfun.VIRTUAL_TOKENS - pumpfun.FOR_SALE
            assert pool.virtual_quote * pool.virtual_tokens >= start * pumpfun.VIRTUAL_TOKENS
    last: dict[bytes, int] = {}
    for trade in market.world.ledger.of(ledger.Trade):
        product = trade.mark_base * trade.mark_quote
        pool = market.world.ledger.pools[trade.pool]
        if not (isinstance(pool, LaunchPool) and pool.kind != "constant") and not trade.synthetic:
            assert product >= last.get(trade.pool, 0)
            last[trade.pool] = product


def test_trades_and_fees_add_up_to_pools(market: Market) -> None:
    """Summing a pool's trades gives its reserves and its fees."""
    sums: dict[bytes, Counter[str]] = {}
    for trade in market.world.ledger.of(ledger.Trade):
        found = sums.setdefault(trade.pool, Counter())
        sign = 1 if trade.side == "buy" else -1
        if not trade.synthetic:
            found["base"] += sign * trade.base_amount
            found["quote"] += sign * trade.quote_amount
        for name in ("protocol", "creator", "lp", "platform", "share"):
            found[name] += getattr(trade, f"{name}_fee")
        found["cashback"] += trade.cashback
        paid = trade.protocol_fee + trade.creator_fee + trade.lp_fee + trade.platform_fee
        paid += trade.share_fee + trade.cashback
        assert trade.user_quote_amount == trade.quote_amount + sign * paid
    for address, found in sums.items():
        pool = market.world.ledger.pools[address]
        if isinstance(pool, Curve):
            assert pumpfun.FOR_SALE - found["base"] == pool.real_tokens
            assert found["quote"] == pool.real_quote
        if isinstance(pool, LaunchPool):
            assert (found["base"], found["quote"]) == (pool.sold, pool.raised)
        if isinstance(pool, Curve | Pool | LaunchPool):
            assert pool.fees == {name: n for name, n in found.items() if n and name not in ("base", "quote")}


def test_graduations_carry_the_liquidity(market: Market) -> None:
    """A pool starts with what its curve had left, and curves complete before they graduate."""
    completed = {entry.pool for entry in market.world.ledger.of(ledger.Completion)}
    graduated = market.world.ledger.of(ledger.Graduation)
    assert graduated
    for entry in graduated:
        curve = market.world.ledger.pools[entry.pool]
        assert entry.pool in completed
        if isinstance(curve, Curve):
            assert entry.base_amount == pumpfun.SEED - curve.post_base_out
            assert entry.quote_amount == curve.real_quote - pumpfun.migration_fee(curve) + curve.post_quote_in
        if isinstance(curve, LaunchPool):
            assert entry.base_amount == curve.supply - curve.sold
            assert entry.quote_amount == curve.raised


def test_same_seed_same_market() -> None:
    """The same seed gives the same signatures, logs and ledger; another seed gives others."""
    first, second, other = (run(seed, 600) for seed in (5, 5, 6))
    assert first[0].world.ledger.export() == second[0].world.ledger.export()
    assert list(first[1].where) == list(second[1].where)
    assert not set(first[1].where) & set(other[1].where)


def test_derived_addresses_are_true() -> None:
    """Addresses that consumers derive, or know from mainnet, are the real ones."""
    world = Market(1).world
    assert text(world.pumpfun.event_authority) == "Ce6TQqeHC9p8KetsN6JsjHK7UTZk7nasjjnr7XxXp9F1"
    assert text(world.pumpswap.event_authority) == "GS4CU59F31iL7aR2Q8zVS8DRrcRnXX1yjQ66TqNVQnaR"
    assert text(world.launchpad.event_authority) == "2DPAtwB8L12vrMRExbLuyGnC7n2J5LNoZQSejeQGpwkr"
    assert text(world.pda(world.launchpad.key, b"vault_auth_seed")) == "WLHv2UAZm6z4KyaaELi5pjdbJh6RESMva1Rnn8pJVVh"
    for mint, config in (
        (keys.WSOL, "6s1xP3hpbAfFoNtUNF8mfHsjr2Bd97JxFJRWLbL6aHuX"),
        (keys.USD1, "EPiZbnrThjyLnoQ6QQzkxeFqyL5uyg9RzNHHAudUPxBz"),
    ):
        assert text(world.pda(world.launchpad.key, b"global_config", mint, b"\0", b"\0\0")) == config
    assert text(world.keys.vanity("pump", "x")).endswith("pump")


def test_undo_puts_everything_back() -> None:
    """A failed transaction leaves no trace but its fee."""
    bank = Market(1).world.bank
    owner, other, wrapped = (bytes([n]) * 32 for n in (1, 2, 3))
    bank.grant(owner, 10**9)
    before = dict(bank.lamports)
    bank.begin()
    bank.open(wrapped, keys.WSOL, owner, keys.TOKEN, owner)
    bank.wrap(owner, wrapped, 10**6)
    bank.pay(owner, other, 5)
    assert bank.tokens[wrapped] == TokenAccount(keys.WSOL, owner, keys.TOKEN, 10**6)
    bank.undo()
    assert wrapped not in bank.tokens
    assert {address: n for address, n in bank.lamports.items() if n} == before
    with pytest.raises(AssertionError, match="lamports"):
        bank.pay(owner, other, 10**12)


@pytest.mark.parametrize("encoding", ["json", "base64"])
def test_decoders_read_what_the_ledger_says(encoding: str) -> None:
    """What the project's decoders read from whole transactions is the ledger, entry for entry, and nothing more."""
    market, chain = run(21, 2_500)
    registry = load(NAMES, lambda name: [(f"{name}.json", read_idl(name))])
    assert differences(market, chain, registry, encoding) == []
