"""The venues' arithmetic: against recorded trades, integer for integer, and by what must hold for every trade."""

from __future__ import annotations

import base64
import json
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from decoders.core.layout import Idl
from simulator import curves
from simulator.curves import Q64, Rates, Start
from simulator.data import read_idl
from tests import mainnet

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLS = {
    idl.address: idl for idl in (Idl.parse(read_idl(name)) for name in ("pumpfun", "pumpswap", "raydium_launchpad"))
}
LAUNCHLAB = IDLS[mainnet.LAUNCHLAB]
LAUNCHLAB.events["TradeEvent"].add_variant(146 - 8, ("exact_in",))
LAUNCHLAB.events["TradeEvent"].add_variant(138 - 8, ("creator_fee", "exact_in"))

QUOTE = st.integers(10**6, 10**13)
BASE = st.integers(10**9, 10**16)


def _logs() -> Iterator[list[str]]:
    for line in mainnet.recorded("logs"):
        yield line.load()["logs"]
    for line in mainnet.recorded("transaction"):
        answer = line.load()
        meta = answer["meta"] if "meta" in answer else answer["transaction"]["meta"]
        yield meta["logMessages"]


def said(logs: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (program, bytes) of each `Program data:` line, by a stack of invokes."""
    stack: list[str] = []
    for line in logs:
        words = line.split(" ")
        if len(words) == 4 and words[2] == "invoke":
            stack.append(words[1])
        elif words[0] == "Program" and len(words) > 2 and words[2].startswith(("success", "failed")):
            stack.pop()
        elif line.startswith("Program data: ") and stack:
            yield stack[-1], base64.b64decode(words[2])


def _bare() -> Iterator[tuple[str, bytes]]:
    file = mainnet.FOLDER / "expected" / "events.json"
    for item in json.loads(file.read_text()) if file.exists() else ():
        yield item["program"], base64.b64decode(item["event_b64"])


def recorded_events(program: str, name: str) -> list[dict[str, Any]]:
    """Return all recorded events of a name, by IDL field."""
    layout = IDLS[program].events[name]
    walked = chain.from_iterable(said(logs) for logs in _logs())
    found = []
    for speaker, data in chain(walked, _bare()):
        if speaker == program and data.startswith(layout.discriminator):
            values = layout.read(data, 8).values
            found.append(dict(zip(layout.index, values, strict=True)))
    return found


def test_pump_trades_as_recorded() -> None:
    """Every recorded pump.fun trade that is no mayhem agent's follows from the reserves before it."""
    mainnet.require()
    checked = 0
    for event in recorded_events(mainnet.PUMPFUN, "TradeEvent"):
        quote = event["quote_amount"] or event["sol_amount"]
        tokens, rate = event["token_amount"], event["fee_basis_points"]
        after = event["virtual_quote_reserves"] or event["virtual_sol_reserves"]
        if not rate or event["mayhem_mode"]:
            continue
        sign = 1 if event["is_buy"] else -1
        before_quote, before_base = after - sign * quote, event["virtual_token_reserves"] + sign * tokens
        if not event["is_buy"]:
            assert curves.quote_from(tokens, before_quote, before_base) == quote
        elif (event["ix_name"] or "buy") == "buy":
            assert curves.quote_for(tokens, before_quote, before_base) == quote
        else:
            assert curves.tokens_for(quote, before_quote, before_base) == tokens
        assert event["fee"] == curves.ceil_bps(quote, rate)
        checked += 1
    assert checked >= 8


def test_pumpswap_trades_as_recorded() -> None:
    """Every recorded PumpSwap trade follows from the reserves that its event tells."""
    mainnet.require()
    checked = 0
    for event in recorded_events(mainnet.PUMPSWAP, "SellEvent"):
        effective = event["pool_quote_token_reserves"] + (event["virtual_quote_reserves"] or 0)
        base = event["pool_base_token_reserves"]
        assert curves.quote_from(event["base_amount_in"], effective, base) == event["quote_amount_out"]
        assert curves.ceil_bps(event["quote_amount_out"], event["lp_fee_basis_points"]) == event["lp_fee"]
        checked += 1
    for event in recorded_events(mainnet.PUMPSWAP, "BuyEvent"):
        effective = event["pool_quote_token_reserves"] + (event["virtual_quote_reserves"] or 0)
        base, out = event["pool_base_token_reserves"], event["base_amount_out"]
        rates = tuple(
            event[name] or 0
            for name in (
                "lp_fee_basis_points", "protocol_fee_basis_points", "coin_creator_fee_basis_points",
                "cashback_fee_basis_points",
            )
        )  # fmt: skip
        if event["ix_name"] == "buy_exact_quote_in":
            net = curves.net_of(event["quote_amount_in"], rates)
            assert net == event["user_quote_amount_in"]
            assert curves.tokens_for(net, effective, base) == out
        else:
            assert curves.amm_quote_for(out, effective, base) == event["quote_amount_in"]
        checked += 1
    assert checked >= 15


def test_launchlab_trades_as_recorded() -> None:
    """Every recorded LaunchLab trade on a constant product curve follows from the reserves before it, fees too."""
    mainnet.require()
    events = recorded_events(mainnet.LAUNCHLAB, "TradeEvent")
    for event in events:
        start = Start(event["total_base_sell"], event["virtual_base"], event["virtual_quote"])
        sold, raised = event["real_base_before"], event["real_quote_before"]
        fees = [event[name] or 0 for name in ("protocol_fee", "platform_fee", "creator_fee", "share_fee")]
        if event["trade_direction"] == "Buy":
            net = event["amount_in"] - sum(fees)
            assert net == event["real_quote_after"] - raised
            assert curves.launch_tokens_for("constant", net, start, sold, raised) == event["amount_out"]
        else:
            gross = curves.launch_quote_from("constant", event["amount_in"], start, sold, raised)
            assert gross - sum(fees) == event["amount_out"]
    assert len(events) >= 3


@pytest.mark.parametrize(
    ("amount", "rates", "split"),
    [(36_554, (2_500, 10_000, 5_000), (93, 365, 182)), (7_076_333, (2_500, 7_500, 500), (17_692, 53_072, 3_538))],
)
def test_launchlab_fee_split(amount: int, rates: tuple[int, int, int], split: tuple[int, int, int]) -> None:
    """The fee is rounded up once and then split; recorded values."""
    fees = Rates(*rates).on(amount)
    assert (fees.protocol, fees.platform, fees.creator) == split
    assert fees.total == sum(split)


def test_start_values_as_on_chain() -> None:
    """Start values are those of recorded pools and events."""
    assert curves.quote_for(793_100_000_000_000, 30 * 10**9, 1_073_000_000_000_000) == 85_005_359_057
    assert curves.launch_start("constant", 10**15, 793_100_000_000_000, 85 * 10**9) == Start(
        793_100_000_000_000, 1_073_025_605_596_382, 30_000_852_951
    )
    assert curves.launch_start("constant", 10**15, 793_100_000_000_000, 3_274_601_594) == Start(
        793_100_000_000_000, 1_073_025_605_677_755, 1_155_774_598
    )


@given(QUOTE, QUOTE, BASE)
def test_constant_product_never_falls(net: int, quote: int, base: int) -> None:
    """No trade lowers the product of the reserves, and buying and selling at once gains nothing."""
    tokens = curves.tokens_for(net, quote, base)
    assert (quote + net) * (base - tokens) >= quote * base
    assert curves.quote_from(tokens, quote + net, base - tokens) <= net
    if 0 < tokens < base:
        assert curves.quote_for(tokens, quote, base) <= net + 1
        assert (quote + curves.quote_for(tokens, quote, base)) * (base - tokens) >= quote * base


@given(st.integers(1, 10**12), st.tuples(*[st.integers(0, 300)] * 3))
def test_net_and_fees_fit_the_gross(gross: int, rates: tuple[int, int, int]) -> None:
    """What is left after fees is the most that fits: net and its fees do not exceed the gross, and lose little."""
    net = curves.net_of(gross, rates)
    whole = net + sum(curves.ceil_bps(net, rate) for rate in rates)
    assert whole <= gross
    assert gross - whole <= 4


@given(st.integers(1, 10**12), st.integers(0, 20_000), st.integers(0, 20_000), st.integers(0, 20_000))
def test_gross_leaves_the_net(net: int, platform: int, creator: int, share: int) -> None:
    """The gross for a net amount leaves at least that, and one unit less would not."""
    rates = Rates(2_500, platform, creator, share)
    gross = rates.gross_for(net)
    assert gross - rates.on(gross).total >= net
    assert gross - 1 - rates.on(gross - 1).total <= net


@pytest.mark.parametrize("kind", ["constant", "fixed", "linear"])
@given(data=st.data())
def test_launchlab_curves_never_lose(kind: curves.CurveKind, data: st.DataObject) -> None:
    """On each kind of curve buying and selling back gains nothing, and asking for tokens costs what they sell for."""
    start = curves.launch_start(kind, 10**15, 793_100_000_000_000, data.draw(st.integers(40 * 10**9, 200 * 10**9)))
    sold = data.draw(st.integers(0, start.sell - 2))
    raised = curves.launch_quote_for(kind, sold, start, 0, 0) if sold else 0
    net = data.draw(st.integers(1, 10**11))
    tokens = curves.launch_tokens_for(kind, net, start, sold, raised)
    assume(0 < tokens <= start.sell - sold)
    assert curves.launch_quote_from(kind, tokens, start, sold + tokens, raised + net) <= net
    cost = curves.launch_quote_for(kind, tokens, start, sold, raised)
    assert cost <= net
    assert curves.launch_tokens_for(kind, cost, start, sold, raised) >= tokens


def test_linear_price_is_the_slope() -> None:
    """On a linear curve the price of the next token is slope times sold over 2^64."""
    start = curves.launch_start("linear", 10**15, 0, 85 * 10**9)
    sold = start.sell // 2
    raised = curves.launch_quote_for("linear", sold, start, 0, 0)
    tokens = curves.launch_tokens_for("linear", 10**6, start, sold, raised)
    assert 10**6 / tokens == pytest.approx(start.virtual_base * sold / Q64, rel=1e-3)


@given(st.integers(1, 10**12), QUOTE, BASE, st.booleans())
def test_cpmm_fees_add_up(amount: int, vault_in: int, vault_out: int, on_input: bool) -> None:
    """A CPMM swap splits what goes in and out into what moves the reserves and fees, and never lowers the product."""
    swap = curves.cpmm_swap(amount, vault_in, vault_out, curves.CpmmRates(), creator_on_input=on_input)
    fee_in = swap.trade_fee + (swap.creator_fee if on_input else 0)
    assert swap.swapped_in + fee_in == amount
    assert swap.amount_out + (0 if on_input else swap.creator_fee) == swap.swapped_out
    assert (vault_in + swap.swapped_in) * (vault_out - swap.swapped_out) >= vault_in * vault_out
    assert swap.protocol_fee + swap.fund_fee <= swap.trade_fee


@pytest.mark.parametrize(
    ("cap", "stable", "rates"),
    [
        (0, False, (2, 93, 30)), (420 * 10**9 - 1, False, (2, 93, 30)), (420 * 10**9, False, (20, 5, 95)),
        (10**15, False, (20, 5, 5)), (58_999 * 10**6, True, (2, 93, 30)), (59_000 * 10**6, True, (20, 5, 95)),
        (20 * 10**12, True, (20, 5, 5)),
    ],
)  # fmt: skip
def test_pool_fees_by_market_cap(cap: int, stable: bool, rates: curves.FeeRates) -> None:
    """The fee table's rows begin where the fee program says."""
    assert curves.pool_fees(cap, stable=stable) == rates
