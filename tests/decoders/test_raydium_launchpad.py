"""LaunchLab events and migrations that nobody recorded, BUILT from the layouts of PROTOCOLS.md (A.4 and D)."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from solders.pubkey import Pubkey

from decoders.core.registry import load
from decoders.core.types import CurveComplete, Fault, Graduation, Launch, Need, PoolInfo, TokenBalance, Trade
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

LAB, CPMM = RAW["raydium_launchpad"], RAW["raydium_cpmm"]
MINT, USER, CREATOR, PLATFORM, NEW_POOL, BASE_VAULT, QUOTE_VAULT = (key(number) for number in range(1, 8))
ACCOUNTS = {"payer": USER, "platform_config": PLATFORM}
BOUGHT = {
    "total_base_sell": 793_100_000_000_000,
    "virtual_base": 1_073_025_605_596_382,
    "virtual_quote": 30_000_852_951,
    "real_base_before": 700_000_000_000_000,
    "real_quote_before": 70_000_000_000,
    "real_base_after": 700_000_900_000_000,
    "real_quote_after": 70_000_099_000,
    "amount_in": 100_000,
    "amount_out": 900_000_000,
    "protocol_fee": 250,
    "platform_fee": 500,
    "creator_fee": 150,
    "share_fee": 100,
}


def curve_of(mint: str, quote: str = WSOL) -> str:
    """Return the curve of a mint, by its seeds."""
    seeds = [b"pool", *(bytes(Pubkey.from_string(address)) for address in (mint, quote))]
    return str(Pubkey.find_program_address(seeds, Pubkey.from_string(LAB.address))[0])


CURVE = curve_of(MINT)


def traded(instruction: str = "buy_exact_in", *, depth: int = 1, quote: str = WSOL, **values: Any) -> Call:
    """Return a trade, called by routers down to `depth`; the program calls itself before it logs."""
    event = Event(LAB.event("TradeEvent", **{"pool_state": CURVE, **BOUGHT, **values}), "cpi log")
    accounts = LAB.accounts(instruction, **ACCOUNTS, base_token_mint=MINT, quote_token_mint=quote)
    call = Call(LAB.address, LAB.instruction(instruction), accounts, (event,))
    for _ in range(depth - 1):
        call = Call(ROUTER, b"route", (), (call,))
    return call


@pytest.mark.parametrize("instruction", ["buy_exact_in", "buy_exact_out"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("carriers", ["cpi", "log cpi"])
def test_buy(instruction: str, depth: int, carriers: str) -> None:
    """Mint, trader and platform come from the accounts, at any depth; what entered the reserves is net of all fees."""
    (trade,) = facts(traded(instruction, depth=depth), carriers=carriers)
    assert isinstance(trade, Trade)
    assert said(trade, "mint", "pool", "trader", "side", "quote_mint") == (MINT, CURVE, USER, "buy", WSOL)
    assert said(trade, "base_amount", "quote_amount", "user_quote_amount") == (900_000_000, 99_000, 100_000)
    assert said(trade, "mark_base", "mark_quote") == (1_073_025_605_596_382 - 700_000_900_000_000, 100_000_951_951)
    assert said(trade, "real_base", "real_quote") == (93_099_100_000_000, 70_000_099_000)
    assert said(trade, "curve_sold", "curve_total") == (700_000_900_000_000, 793_100_000_000_000)
    assert said(trade, "protocol_fee", "platform_fee", "creator_fee", "share_fee") == (250, 500, 150, 100)
    assert said(trade, "platform", "platform_config", "block_time") == ("raydium_launchpad", PLATFORM, TIME_S)


def test_decimals() -> None:
    """Those of token and quote stand in the balances of the transaction."""
    balances = (balance(BASE_VAULT, MINT, 5), TokenBalance(QUOTE_VAULT, key(9), None, 1, 2, 4))
    (trade,) = facts(traded(quote=key(9)), token_balances=balances)
    assert said(trade, "decimals", "quote_decimals") == (6, 4)
    (trade,) = facts(traded())
    assert said(trade, "decimals", "quote_decimals") == (None, 9)
    (graduation,) = facts(migrated("migrate_to_cpswap", 28, **CPSWAP, _17=CURVE), token_balances=SEED)
    assert said(graduation, "decimals", "quote_decimals") == (6, 9)


@pytest.mark.parametrize("instruction", ["sell_exact_in", "sell_exact_out"])
def test_sell(instruction: str) -> None:
    """Of a sale amount_out is what the trader got, after fees."""
    back: dict[str, Any] = {
        "real_base_before": 700_000_900_000_000, "real_quote_before": 70_000_100_000,
        "real_base_after": 700_000_000_000_000, "real_quote_after": 70_000_000_000,
        "amount_in": 900_000_000, "amount_out": 99_000, "trade_direction": ("Sell", {}),
    }  # fmt: skip
    (trade,) = facts(traded(instruction, **back))
    assert said(trade, "side", "base_amount", "quote_amount", "user_quote_amount") == (
        "sell", 900_000_000, 100_000, 99_000,
    )  # fmt: skip


def test_other_quote() -> None:
    """The quote comes from the accounts as well."""
    (trade,) = facts(traded(quote=USDC))
    assert said(trade, "quote_mint") == (USDC,)


@pytest.mark.parametrize(
    "pools", [{}, {CURVE: PoolInfo(CURVE, "raydium_launchpad", MINT, WSOL, platform_config=PLATFORM)}]
)
def test_log_lines_alone(pools: dict[str, PoolInfo]) -> None:
    """Log lines do not name the trader: the trade is partial, and the transaction is wanted even for a known pool."""
    decoded = ALL.decode(notice(traded(), carriers="log"), pools)
    (trade,) = decoded.partial
    wanted = (MINT, WSOL, PLATFORM) if pools else (None, None, None)
    assert said(trade, "mint", "quote_mint", "platform_config", "trader") == (*wanted, None)
    assert decoded.needs == [Need(SIGNATURE, SLOT, "accounts", "raydium_launchpad")]


def test_migration_that_log_lines_hint_at() -> None:
    """A migration emits no event: that the program ran is reason enough to fetch the transaction."""
    decoded = ALL.decode(notice(Call(LAB.address), carriers="log"), {})
    assert (decoded.facts, decoded.partial) == ([], [])
    assert decoded.needs == [Need(SIGNATURE, SLOT, "accounts", "raydium_launchpad")]


def test_completing_buy() -> None:
    """The buy that completes a curve is two facts; the raise may end a few units high, and progress ends at 1."""
    last: dict[str, Any] = {"real_base_after": 793_100_000_000_001, "pool_status": ("Migrate", {})}
    trade, complete = facts(traded(**last))
    assert isinstance(trade, Trade)
    assert said(trade, "curve_sold", "curve_total", "real_base") == (793_100_000_000_000, 793_100_000_000_000, 0)
    assert isinstance(complete, CurveComplete)
    assert said(complete, "mint", "pool", "trader", "quote_mint", "platform_config") == (
        MINT,
        CURVE,
        USER,
        WSOL,
        PLATFORM,
    )
    assert said(complete, "event", "nth", "position") == said(trade, "event", "nth", "position")


def test_sale_on_a_completed_curve_completes_nothing() -> None:
    """Only a buy completes."""
    found = facts(traded("sell_exact_in", trade_direction=("Sell", {}), pool_status=("Migrate", {})))
    assert [fact.kind for fact in found] == ["trade"]


@pytest.mark.parametrize(
    ("virtual_base", "virtual_quote", "price"),
    [
        # Quotient of what is left of both.
        (1_073_025_605_596_382, 30_000_852_951, Fraction(30_000_852_951 + 70_000_099_000, 373_024_705_596_382)),
        # Always the same: it sells all of its virtual base.
        (793_100_000_000_000, 85_000_000_000, Fraction(85_000_000_000, 793_100_000_000_000)),
        # Rises with what was sold, by virtual_base for each 2^64.
        (4_985_304, 0, Fraction(4_985_304 * 700_000_900_000_000, 1 << 64)),
    ],
    ids=["constant product", "fixed price", "linear"],
)
def test_mark_of_each_kind(virtual_base: int, virtual_quote: int, price: Fraction) -> None:
    """Each kind of curve is marked by its own formula (PROTOCOLS.md, C3)."""
    (trade,) = facts(traded(virtual_base=virtual_base, virtual_quote=virtual_quote))
    assert isinstance(trade, Trade)
    assert trade.mark_base is not None
    assert trade.mark_quote is not None
    assert abs(Fraction(trade.mark_quote, trade.mark_base) / price - 1) < Fraction(1, 1 << 60)


# A linear curve starts at price 0. The start of the others follows from the migrate fee, which no launch tells.
KINDS = {
    "Constant": ({"total_base_sell": 793_100_000_000_000}, "constant", 793_100_000_000_000, (None, None)),
    "Fixed": ({}, "fixed", None, (None, None)),
    "Linear": ({}, "linear", None, (1 << 62, 0)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("instruction", ["initialize", "initialize_v2", "initialize_with_token_2022"])
@pytest.mark.parametrize(("migrate_type", "venue"), [(0, "raydium_amm_v4"), (1, "raydium_cpmm"), (2, None)])
def test_launch(kind: str, instruction: str, migrate_type: int, venue: str | None) -> None:
    """Launches of each kind of curve, by each instruction, of whatever platform."""
    more, curve_kind, for_sale, start = KINDS[kind]
    data = {"supply": 10**15, "total_quote_fund_raising": 85_000_000_000, "migrate_type": migrate_type, **more}
    event = LAB.event(
        "PoolCreateEvent", pool_state=CURVE, creator=CREATOR, config=key(9), curve_param=(kind, {"data": data}),
        base_mint_param={"decimals": 6, "name": "Name", "symbol": "SYM", "uri": "https://x"},
    )  # fmt: skip
    accounts = LAB.accounts(
        instruction, **ACCOUNTS, base_mint=MINT, quote_mint=WSOL, base_token_program=key(10), creator=CREATOR,
    )  # fmt: skip
    call = Call(LAB.address, LAB.instruction(instruction), accounts, (Event(event),))
    (launch,) = facts(call)
    assert isinstance(launch, Launch)
    assert said(launch, "mint", "pool", "creator", "payer", "quote_mint") == (MINT, CURVE, CREATOR, USER, WSOL)
    assert said(launch, "name", "symbol", "uri", "decimals", "supply") == ("Name", "SYM", "https://x", 6, 10**15)
    assert said(launch, "curve_kind", "for_sale", "raise_target", "migrate_to") == (
        curve_kind, for_sale, 85_000_000_000, venue,
    )  # fmt: skip
    assert said(launch, "mark_base", "mark_quote") == start
    assert said(launch, "platform_config", "token_program", "platform") == (PLATFORM, key(10), "raydium_launchpad")
    (partial,) = ALL.decode(notice(call, carriers="log"), {}).partial
    assert said(partial, "pool", "name", "mint", "platform_config") == (CURVE, "Name", None, None)


def balance(account: str, mint: str, after: int | None) -> TokenBalance:
    """Return a token balance after the transaction."""
    return TokenBalance(account, mint, key(40), None, after, 6)


SEED = (balance(BASE_VAULT, MINT, 206_900_000_000_000), balance(QUOTE_VAULT, WSOL, 85_000_000_000))


def migrated(instruction: str, count: int, *inside: Call | Event, **places: str) -> Call:
    """Return a migration of `count` accounts, those at `_<place>` given."""
    accounts = [key(50 + place) for place in range(count)]
    for place, account in places.items():
        accounts[int(place[1:])] = account
    return Call(LAB.address, LAB.instruction(instruction), tuple(accounts), inside)


KNOWN = {CURVE: PoolInfo(CURVE, "raydium_launchpad", MINT, WSOL, platform_config=PLATFORM)}
CPSWAP = {"_0": USER, "_1": MINT, "_2": WSOL, "_3": PLATFORM, "_5": NEW_POOL, "_8": BASE_VAULT, "_9": QUOTE_VAULT}


@pytest.mark.parametrize(("count", "curve_at"), [(28, 17), (29, 18), (38, 17)])
def test_migrate_to_cpswap(count: int, curve_at: int) -> None:
    """Both account lists lead to the same graduation, and the pool's creation is a fact of CPMM."""
    created = Call(
        CPMM.address,
        CPMM.instruction("initialize_with_permission", init_amount_0=206_900_000_000_000, init_amount_1=85_000_000_000),
        CPMM.accounts(
            "initialize_with_permission", pool_state=NEW_POOL, token_0_mint=MINT, token_1_mint=WSOL, creator=CREATOR
        ),
    )
    call = migrated("migrate_to_cpswap", count, created, **CPSWAP, **{f"_{curve_at}": CURVE})
    graduation, pool = facts(call, token_balances=SEED)
    assert isinstance(graduation, Graduation)
    assert said(graduation, "event", "nth", "position", "record") == ("migrate_to_cpswap", 0, 0, None)
    assert said(graduation, "mint", "pool", "to_pool", "to_venue") == (MINT, CURVE, NEW_POOL, "raydium_cpmm")
    assert said(graduation, "quote_mint", "base_amount", "quote_amount") == (WSOL, 206_900_000_000_000, 85_000_000_000)
    assert said(graduation, "payer", "platform_config", "block_time") == (USER, PLATFORM, TIME_S)
    assert said(pool, "kind", "pool", "mint", "quote_mint", "position") == ("pool_created", NEW_POOL, MINT, WSOL, 1)


@pytest.mark.parametrize(("count", "curve_at", "pool_at", "vault_at"), [(23, 14, 5, 8), (32, 23, 13, 17)])
def test_migrate_to_amm(count: int, curve_at: int, pool_at: int, vault_at: int) -> None:
    """The account lists of 2025 and of 2026 lead to the same graduation."""
    places = {
        "_0": USER, "_1": MINT, "_2": WSOL, f"_{curve_at}": CURVE, f"_{pool_at}": NEW_POOL, f"_{vault_at}": BASE_VAULT,
        f"_{vault_at + 1}": QUOTE_VAULT,
    }  # fmt: skip
    (graduation,) = facts(migrated("migrate_to_amm", count, **places), token_balances=SEED)
    assert said(graduation, "event", "mint", "pool", "to_pool", "to_venue") == (
        "migrate_to_amm", MINT, CURVE, NEW_POOL, "raydium_amm_v4",
    )  # fmt: skip
    assert said(graduation, "base_amount", "quote_amount", "platform_config") == (
        206_900_000_000_000, 85_000_000_000, None,
    )  # fmt: skip


def test_migration_without_balances() -> None:
    """A source that carries no balances, or other ones, gives a graduation without amounts."""
    call = migrated("migrate_to_cpswap", 28, **CPSWAP, _17=CURVE)
    for balances in ((), (balance(BASE_VAULT, WSOL, 5), balance(QUOTE_VAULT, WSOL, None))):
        (graduation,) = facts(call, token_balances=balances)
        assert said(graduation, "base_amount", "quote_amount") == (None, None)


def test_migration_and_trades_in_order() -> None:
    """A graduation stands where its instruction stood."""
    found = facts(traded(), migrated("migrate_to_cpswap", 28, **CPSWAP, _17=CURVE), traded(pool_state=key(30)))
    assert [fact.kind for fact in found] == ["trade", "graduation", "trade"]
    assert [fact.nth for fact in found] == [0, 0, 1]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (migrated("migrate_to_cpswap", 2), "migrate_to_cpswap has 2 accounts"),
        (migrated("migrate_to_cpswap", 28, **CPSWAP), f"the curve of {MINT} is not among its accounts"),
        (migrated("migrate_to_cpswap", 28, **CPSWAP, _20=CURVE), "the curve is account 20 of 28"),
        (migrated("migrate_to_amm", 32, _1=MINT, _2=WSOL, _17=CURVE), "the curve is account 17 of 32"),
    ],
    ids=["few", "no curve", "another place", "another list"],
)
def test_unknown_account_list(call: Call, reason: str) -> None:
    """A list that changed once more is a fault with the instruction's data, not a guess."""
    (fault,) = facts(call)
    assert isinstance(fault, Fault)
    assert fault.reason.endswith(reason)
    assert fault.payload == call.data
    assert fault.event in ("migrate_to_cpswap", "migrate_to_amm")


def test_huge_seed() -> None:
    """A balance that no table holds is a fault."""
    balances = (balance(BASE_VAULT, MINT, 1 << 63),)
    (fault,) = facts(migrated("migrate_to_cpswap", 28, **CPSWAP, _17=CURVE), token_balances=balances)
    assert fault.kind == "fault"


def test_cut_migration_data() -> None:
    """So are arguments that end inside a number."""
    call = migrated("migrate_to_amm", 23)
    (fault,) = facts(Call(call.program, call.data[:11], call.accounts))
    assert said(fault, "kind", "event", "payload") == ("fault", "migrate_to_amm", call.data[:11])


def test_pool_account() -> None:
    """A curve's account tells mint, quote and platform; before the platform ends, without it."""
    whole = LAB.account("PoolState", base_mint=MINT, quote_mint=USDC, platform_config=PLATFORM)
    info = ALL.decode_account(CURVE, LAB.address, whole)
    assert info == PoolInfo(
        CURVE, "raydium_launchpad", MINT, USDC, platform="raydium_launchpad", platform_config=PLATFORM
    )
    assert ALL.decode_account(CURVE, LAB.address, whole[:250]) is None


def test_curve_of_a_kind_to_come() -> None:
    """A kind of curve that an official IDL adds is a fault until the decoder knows it."""
    raw = json.loads((borsh.IDLS / "raydium_launchpad.json").read_text())
    kinds = next(item["type"]["variants"] for item in raw["types"] if item["name"] == "CurveParams")
    kinds.append({"name": "Cubic", "fields": kinds[1]["fields"]})
    newer = load(["raydium_launchpad"], lambda name: [(f"{name}.json", json.dumps(raw).encode())])
    data = {"supply": 1, "total_quote_fund_raising": 2, "migrate_type": 0}
    event = borsh.Idl(json.dumps(raw)).event("PoolCreateEvent", curve_param=("Cubic", {"data": data}))
    (fault,) = newer.decode_event(LAB.address, event).facts
    assert said(fault, "kind", "reason") == ("fault", "unknown curve kind Cubic")
