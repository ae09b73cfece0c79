"""Recorded trades obey the arithmetic of their programs (PROTOCOLS.md, C5), integer for integer."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core.types import Trade
from tests.decoders.built import ALL, WSOL
from tests.decoders.recorded import EVENTS, LOGS, TRANSACTIONS, VECTORS, logged, needs_data, shown, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoders.core.types import Decoded


def every_trade() -> Iterator[tuple[str, Trade, dict[str, int | None], str | None]]:
    """Yield name, fact, integer fields and the author's name of the instruction of each recorded trade."""
    found: list[tuple[str, Decoded]] = [(line.where, ALL.decode(whole(line), {})) for line in TRANSACTIONS]
    found += [(line.where, ALL.decode(logged(line), {})) for line in LOGS]
    found += [(item["name"], ALL.decode_event(item["program"], base64.b64decode(item["event_b64"]))) for item in EVENTS]
    for item in VECTORS:
        if "event" in item:
            data = bytes.fromhex(item["hex"]) if "hex" in item else base64.b64decode(item["event_b64"])
            found.append((item["test"], ALL.decode_event(item["program"], data)))
    for name, decoded in found:
        for fact in decoded.facts + decoded.partial:
            if isinstance(fact, Trade):
                fields = shown(fact)
                numbers = {key: int(value) for key, value in fields.items() if str(value).lstrip("-").isdigit()}
                yield name, fact, {**dict.fromkeys(fields), **numbers}, fields.get("ix_name")


def of_venue(venue: str) -> list[Any]:
    """Return the recorded trades of a venue as test parameters."""
    return [pytest.param(*found, id=found[0]) for found in every_trade() if found[1].venue == venue]


def ceil_bps(amount: int, bps: int | None) -> int:
    """Return a fee, rounded up."""
    return -(-amount * (bps or 0) // 10_000)


@pytest.mark.parametrize(("name", "trade", "event", "ix_name"), of_venue("pumpfun"))
def test_arithmetic_of_pumpfun(name: str, trade: Trade, event: dict[str, Any], ix_name: str | None) -> None:
    """Amounts of a curve trade follow from its reserves, and fees from the amounts."""
    assert trade.mark_base is not None
    assert trade.mark_quote is not None
    mayhem = bool(shown(trade)["mayhem_mode"])
    base, quote, after_base, after_quote = trade.base_amount, trade.quote_amount, trade.mark_base, trade.mark_quote
    if trade.side == "buy":
        before_base, before_quote = after_base + base, after_quote - quote
        exact_out = base * before_quote // (before_base - base) + 1
        exact_in = (quote - 1) * before_base // (before_quote + quote - 1)
        # Before 2025-10 the event does not tell which instruction it was.
        assert mayhem or {None: quote == exact_out or base == exact_in, "buy": quote == exact_out}.get(
            ix_name, base == exact_in
        )
    else:
        before_base, before_quote = after_base - base, after_quote + quote
        assert mayhem or quote == base * before_quote // (before_base + base)
    if trade.real_base is not None and trade.real_quote is not None and trade.quote_mint == WSOL and not mayhem:
        assert after_base - trade.real_base == 279_900_000_000_000
        assert after_quote - trade.real_quote == 30_000_000_000
    if trade.protocol_fee is not None:
        assert trade.protocol_fee == ceil_bps(quote, event["fee_basis_points"])
        if event["cashback"] in (None, 0):
            assert trade.creator_fee == ceil_bps(quote, event["creator_fee_basis_points"]) or trade.creator_fee == 0
        else:
            assert trade.cashback == ceil_bps(quote, event["cashback_fee_basis_points"])
    if event["buyback_fee"] is not None:
        assert event["buyback_fee"] == (trade.protocol_fee or 0) * event["buyback_fee_basis_points"] // 10_000


@pytest.mark.parametrize(("name", "trade", "event", "ix_name"), of_venue("pumpswap"))
def test_arithmetic_of_pumpswap(name: str, trade: Trade, event: dict[str, Any], ix_name: str | None) -> None:
    """Amounts of a pool trade follow from its effective reserves; fees stand beside."""
    base_before, quote_before = event["pool_base_token_reserves"], event["pool_quote_token_reserves"]
    effective = quote_before + (event["virtual_quote_reserves"] or 0)
    fees = [fee or 0 for fee in (trade.lp_fee, trade.protocol_fee, trade.creator_fee, trade.cashback)]
    base, quote = trade.base_amount, trade.quote_amount
    if trade.side == "buy":
        assert trade.user_quote_amount == quote + sum(fees)
        exact_out = -(-base * effective // (base_before - base))
        exact_in = (quote - 1) * base_before // (effective + quote - 1)
        assert exact_in == base if ix_name == "buy_exact_quote_in" else exact_out == quote
        assert (trade.mark_base, trade.mark_quote) == (base_before - base, effective + quote + fees[0])
    else:
        assert trade.user_quote_amount == quote - sum(fees)
        assert quote == base * effective // (base_before + base)
        assert (trade.mark_base, trade.mark_quote) == (base_before + base, effective - quote + fees[0])
    assert trade.lp_fee == ceil_bps(quote, event["lp_fee_basis_points"])
    assert trade.protocol_fee == ceil_bps(quote, event["protocol_fee_basis_points"])


@pytest.mark.parametrize(("name", "trade", "event", "ix_name"), of_venue("raydium_launchpad"))
def test_arithmetic_of_launchlab(name: str, trade: Trade, event: dict[str, Any], ix_name: str | None) -> None:
    """Amounts of a LaunchLab trade (all recorded curves are constant products) follow from its reserves."""
    fees = sum(event[f"{kind}_fee"] or 0 for kind in ("protocol", "platform", "creator", "share"))
    base_in, quote_in = (
        event["virtual_base"] - event["real_base_before"],
        event["virtual_quote"] + event["real_quote_before"],
    )
    if trade.side == "buy":
        assert trade.user_quote_amount == event["amount_in"] == trade.quote_amount + fees
        assert (
            trade.base_amount == event["amount_out"] == trade.quote_amount * base_in // (quote_in + trade.quote_amount)
        )
    else:
        assert trade.user_quote_amount == event["amount_out"] == trade.quote_amount - fees
        assert trade.base_amount == event["amount_in"]
        assert trade.quote_amount == trade.base_amount * quote_in // (base_in + trade.base_amount)
    assert trade.mark_base == event["virtual_base"] - event["real_base_after"]
    assert trade.mark_quote == event["virtual_quote"] + event["real_quote_after"]


@pytest.mark.parametrize(("name", "trade", "event", "ix_name"), of_venue("raydium_cpmm"))
def test_arithmetic_of_cpmm(name: str, trade: Trade, event: dict[str, Any], ix_name: str | None) -> None:
    """What entered and left the reserves of a CPMM pool keeps its product; the oldest layout does not tell the fee."""
    bought, sold = trade.base_amount, trade.quote_amount  # of a record without accounts the input is the quote
    if trade.side == "sell":
        bought, sold = sold, bought
    if event["trade_fee"] is None:
        sold -= ceil_bps(sold, 25)
    assert bought == sold * event["output_vault_before"] // (event["input_vault_before"] + sold)


@needs_data
def test_every_venue_was_computed() -> None:
    """The relations above were tried on as many trades as are recorded."""
    counts: dict[str, int] = {}
    for _, trade, _, _ in every_trade():
        counts[trade.venue] = counts.get(trade.venue, 0) + 1
    assert counts == {"pumpfun": 14, "pumpswap": 20, "raydium_launchpad": 5, "raydium_cpmm": 2}
