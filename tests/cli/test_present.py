"""Facts as JSON objects: exact integers, prices as decimal text, times in RFC 3339."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from decoders.core.types import CurveComplete, Fact, Fault, Graduation, Launch, Other, PoolCreated, Trade
from monitor.present import fact_json, price_text, progress, time_text

COMMON: dict[str, Any] = {
    "program": "P",
    "venue": "pumpfun",
    "event": "E",
    "nth": 0,
    "signature": "s",
    "slot": 1,
    "block_time": 1_791_106_392,
    "index": None,
    "position": 0,
}
AMOUNT = (1 << 63) - 1
LEAD = ["fact", "platform", "program", "venue", "event", "nth", "signature", "slot", "time"]


def trade(**changes: Any) -> Trade:
    """Return a trade of the largest amounts."""
    members: dict[str, Any] = {
        "mint": "M",
        "pool": "C",
        "trader": "T",
        "side": "buy",
        "base_amount": AMOUNT,
        "quote_amount": AMOUNT,
        "user_quote_amount": AMOUNT,
        "quote_mint": "Q",
        "mark_base": AMOUNT,
        "mark_quote": AMOUNT,
    }
    return Trade(**COMMON, **{**members, **changes})


EVERY_KIND: list[Fact] = [
    trade(),
    Launch(
        **COMMON, mint="M", pool="C", creator="K", payer=None, name="\0", symbol="", uri="", decimals=6,
        supply=(1 << 64) - 1, quote_mint="Q", creator_fee_bps=30, depth=255,
    ),
    CurveComplete(**COMMON, mint="M", pool="C", trader="T", quote_mint="Q"),
    Graduation(**COMMON, mint="M", pool="C", to_pool="D", to_venue="pumpswap", quote_mint="Q"),
    PoolCreated(**COMMON, mint="M", pool="C", quote_mint="Q", creator=None, decimals=6, quote_decimals=9),
    Other(**COMMON),
    Fault(**COMMON, reason="unknown_discriminator", payload=b"\0\xff"),
]  # fmt: skip


def test_every_kind_is_known_and_begins_with_the_same_members() -> None:
    """What tells a fact from all others comes first; the objects can be written as JSON; wide integers are text."""
    assert {type(fact) for fact in EVERY_KIND} == set(Fact.__subclasses__())
    for fact in EVERY_KIND:
        shown = fact_json(fact)
        assert list(shown)[: len(LEAD)] == LEAD
        assert msgspec.json.decode(msgspec.json.encode(shown)) == shown
        assert shown["fact"] == fact.kind
        assert shown["time"] == "2026-10-04T09:33:12Z"
        assert (shown["fields"], shown["tail_hex"]) == ({}, "")
        wide = {name for name, value in shown.items() if type(value) is int and value > 255}
        assert not wide


def test_amounts_are_text_and_small_numbers_are_numbers() -> None:
    """What JSON readers would round is text: every amount, whatever its size."""
    shown = fact_json(trade(base_amount=5, decimals=6, quote_decimals=9))
    assert (shown["decimals"], shown["quote_decimals"]) == (6, 9)
    assert (shown["base_amount"], shown["quote_amount"]) == ("5", "9223372036854775807")
    launch = fact_json(EVERY_KIND[1])
    assert (launch["supply"], launch["creator_fee_bps"]) == ("18446744073709551615", "30")
    assert (launch["decimals"], launch["depth"]) == (6, 255)


def test_faults_show_their_payload_as_hex() -> None:
    """Nothing of the payload is lost, whatever its bytes."""
    shown = fact_json(EVERY_KIND[-1])
    assert (shown["reason"], shown["payload_hex"]) == ("unknown_discriminator", "00ff")
    assert "payload" not in shown


def test_what_is_not_known_is_null() -> None:
    """Input without slot, signature or time (bare event bytes) gives null, not a made-up value."""
    shown = fact_json(Other(**{**COMMON, "signature": "", "slot": 0, "block_time": None}))
    assert (shown["signature"], shown["slot"], shown["time"]) == (None, None, None)


def test_the_raw_event_can_be_left_out() -> None:
    """Announcements do without `fields`: whoever needs them finds them by the identity."""
    shown = fact_json(trade(), raw=False)
    assert "fields" not in shown
    assert "tail_hex" not in shown


@given(st.integers(1, AMOUNT), st.integers(0, AMOUNT))
def test_prices_are_plain_decimal_text_of_18_digits(base: int, quote: int) -> None:
    """They equal the exact quotient but for the 18th digit, never in exponent form, without idle zeros."""
    text = price_text(base, quote)
    assert text is not None
    assert "E" not in text.upper()
    assert text == "0" or "." not in text or not text.endswith("0")
    assert abs(Fraction(Decimal(text)) - Fraction(quote, base)) <= Fraction(quote, base) / 10**17


def test_prices_that_do_not_exist_are_null() -> None:
    """Nothing was bought, or the reserves are not known."""
    assert price_text(0, 1) is None
    assert price_text(None, 1) is None
    assert price_text(1, None) is None
    assert price_text(1, 0) == "0"
    assert fact_json(trade(base_amount=0))["price"] is None


def test_progress_is_a_share_of_what_the_curve_sells() -> None:
    """From 0 to 1; null where there is no curve."""
    assert progress(trade(curve_sold=1, curve_total=4)) == 0.25
    assert progress(trade(curve_sold=5, curve_total=4)) == 1
    assert progress(trade(curve_sold=1, curve_total=0)) is None
    assert progress(trade()) is None


def test_times_are_rfc_3339_in_utc() -> None:
    """Whole seconds, with a Z."""
    assert time_text(0) == "1970-01-01T00:00:00Z"
    assert time_text((1 << 32) - 1) == "2106-02-07T06:28:15Z"
    assert time_text(None) is None
