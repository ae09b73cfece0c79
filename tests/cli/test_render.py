"""Lines of the table: stable widths whatever a token calls itself, prices that say what the numbers say."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from monitor.cli.render import COLUMNS, Table, bar, clean, fitting, large, short, small

SOL = "So11111111111111111111111111111111111111112"
USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
SUBSCRIPTS = {digit: number for number, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")}


def launch(**changes: Any) -> dict[str, Any]:
    """Return a launch as `fact_json` shows it."""
    shown = {
        "fact": "launch", "platform": "pumpfun", "venue": "pumpfun", "time": "2026-10-05T10:55:37Z", "mint": "MINT",
        "creator": "CREATOR", "symbol": "DOGE", "decimals": 6, "supply": "1000000000000000", "quote_mint": SOL,
        "mark_price": "0.0000279589934762348555",
    }  # fmt: skip
    return shown | changes


def trade(**changes: Any) -> dict[str, Any]:
    """Return a trade as `fact_json` shows it."""
    shown = {
        "fact": "trade", "platform": "pumpfun", "venue": "pumpfun", "time": "2026-10-05T10:58:00Z", "mint": "MINT",
        "trader": "9ZbTXdPSdKZeTCY215VwzEHhJoiDK4xtbaRqr3f7b3R1", "side": "buy", "quote_mint": SOL,
        "quote_amount": "1500000000", "mark_price": "0.00004", "price": "0.00003", "organic": True, "progress": 0.4217,
    }  # fmt: skip
    return shown | changes


def cells(table: Table, fact: dict[str, Any]) -> dict[str, str]:
    """Return a line's cells by column."""
    line, found, at = table.line(fact).plain, {}, 0
    for column in table.columns:
        found[column.name] = line[at : at + column.width].strip()
        at += column.width + 2
    return found


def test_a_trade_is_shown_in_units_of_people() -> None:
    """The name comes from the launch; price and market cap are the mark's, in the quote's own units."""
    table = Table(COLUMNS)
    assert cells(table, launch())["symbol"] == "DOGE"
    found = cells(table, trade())
    assert found | {"time": ""} == {
        "time": "", "event": "buy", "platform": "pump.fun", "symbol": "DOGE", "age": "2m", "price": "0.0₇4000 SOL",
        "mkt cap": "40.00 SOL", "curve": f"{bar(0.4217)}", "amount": "1.500 SOL", "trader": "9ZbT…b3R1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (launch(), {"event": "launch", "age": "new", "price": "0.0₇2796 SOL", "mkt cap": "27.96 SOL", "amount": "·"}),
        (launch(mark_price=None), {"price": "·", "mkt cap": "·"}),
        (trade(side="sell"), {"event": "sell"}),
        (trade(organic=False), {"event": "burn"}),
        (trade(progress=None), {"curve": "·"}),
        (trade(quote_mint=USDC, mark_price="0.004"), {"price": "0.004000 USDC", "amount": "1.500K USDC"}),
        (trade(quote_mint="other"), {"price": "·", "amount": "·", "mkt cap": "·"}),
        (trade(mark_price=None), {"price": "0.0₇3000 SOL"}),
        (trade(mark_price=None, price=None), {"price": "·"}),
        (trade(time=None), {"time": "·", "age": "·"}),
        (trade(trader=None), {"trader": "·"}),
        (trade(platform="raydium_launchpad", mint="m2"), {"symbol": "m2", "price": "·", "mkt cap": "·"}),
        (trade(platform=None, mint=None), {"symbol": "·"}),
        (trade(fact="curve_complete", venue="raydium_launchpad"), {"event": "complete", "platform": "LaunchLab"}),
        (
            {"fact": "graduation", "platform": "pumpfun", "venue": "pumpfun", "time": None, "mint": "MINT", "to_venue":
             "pumpswap", "quote_mint": SOL, "base_amount": "206900000000000", "quote_amount": "84990359420"},
            {"event": "graduate", "curve": "→ PumpSwap", "price": "0.0₆4108 SOL", "amount": "84.99 SOL"},
        ),
    ],
)  # fmt: skip
def test_what_is_not_known_is_a_dot(fact: dict[str, Any], expected: dict[str, str]) -> None:
    """Every fact has its line, and nothing in it is made up."""
    found = cells(Table(COLUMNS), fact)
    assert {name: found[name] for name in expected} == expected


def test_decimals_of_a_token_whose_launch_was_not_seen_can_be_learned() -> None:
    """Whole transactions tell them: then there is a price, but still no market cap."""
    table = Table(COLUMNS)
    table.learn_decimals("m2", 9)
    table.learn_decimals("m2", 3)
    found = cells(table, trade(platform="raydium_launchpad", mint="m2", mark_price="0.5"))
    assert (found["price"], found["mkt cap"]) == ("0.5000 SOL", "·")


@given(
    st.text(max_size=100), st.sampled_from([60, 80, 100, 118, 200]), st.booleans(),
    st.sampled_from([launch, trade]), st.text(max_size=60),
)  # fmt: skip
def test_lines_have_the_width_of_their_columns_whatever_a_token_is_called(
    symbol: str, width: int, is_ascii: bool, make: Any, trader: str
) -> None:
    """No name moves a column, breaks a line, or speaks to the terminal."""
    columns = fitting(width)
    table = Table(columns, is_ascii)
    table.learn(launch(symbol=symbol))
    text = table.line(make(symbol=symbol, trader=trader, creator=trader)).plain
    assert cell_len(text) <= sum(column.width for column in columns) + 2 * (len(columns) - 1)
    assert all(character.isprintable() for character in text)
    assert text.isascii() or not is_ascii
    at = [column.name for column in columns].index("price")
    until_price = sum(column.width + 2 for column in columns[: at + 1]) - 2
    assert any(cell_len(text[:end]) == until_price and text[:end].endswith(" SOL") for end in range(len(text) + 1))


def test_narrow_terminals_lose_columns_and_wide_ones_do_not_gain_any() -> None:
    """At 80 columns there still are age, symbol, price, market cap and the curve."""
    assert fitting(200) == fitting(118) == COLUMNS
    assert {column.name for column in fitting(80)} == {"time", "event", "symbol", "age", "price", "mkt cap", "curve"}
    assert {column.name for column in fitting(10)} == {column.name for column in COLUMNS if not column.drop}


@given(st.decimals(min_value=Decimal("1e-30"), max_value=Decimal(9999), allow_nan=False, allow_infinity=False))
@example(Decimal("9.9995e-13"))
@example(Decimal("0.00099996"))
def test_small_prices_say_what_the_number_says(value: Decimal) -> None:
    """Four digits of it; the subscript counts the zeros after the point."""
    text = small(value)
    if text.startswith("0.0") and len(text) > 3 and text[3] in SUBSCRIPTS:
        digits = [character for character in text[3:] if character in SUBSCRIPTS]
        zeros = int("".join(str(SUBSCRIPTS[digit]) for digit in digits))
        text = "0." + "0" * zeros + text[3 + len(digits) :]
    assert abs(Decimal(text) - value) <= value / 1_000


@given(st.decimals(min_value=Decimal("0.001"), max_value=Decimal("1e15"), allow_nan=False, allow_infinity=False))
def test_large_amounts_say_what_the_number_says(value: Decimal) -> None:
    """At least three digits, at most six characters and a unit."""
    text = large(value)
    units = {"K": 1_000, "M": 10**6, "B": 10**9, "T": 10**12}
    number = Decimal(text[:-1]) * units[text[-1]] if text[-1] in units else Decimal(text)
    assert abs(number - value) <= max(value / 200, Decimal("0.0005"))


def test_terminals_without_unicode_get_exponents() -> None:
    """A subscript would be a question mark there."""
    assert small(Decimal("0.00000002796"), is_ascii=True) == "2.796e-8"


def test_zero_and_dust_have_words_too() -> None:
    """Nothing is nothing, and dust does not look like nothing."""
    assert (small(Decimal(0)), large(Decimal(0))) == ("0", "0.000")
    assert large(Decimal("0.0000001")) == "1.0e-7"


def test_bars_fill_up_and_are_full_only_at_the_end() -> None:
    """Eight cells in eighths; 99.99 % is not 100 %."""
    assert bar(0) == "░░░░░░░░   0%"
    assert bar(0.5) == "████░░░░  50%"
    assert bar(0.9999) == "███████▉  99%"
    assert bar(1) == "████████ 100%"
    assert len({len(bar(share / 1_000)) for share in range(1_001)}) == 1


def test_names_are_cleaned_and_addresses_shortened() -> None:
    """Control characters, direction marks and towers of accents go; letters and emoji of all scripts stay."""
    assert clean("a\x1b[2Jb\x00\u202ec\n") == "a[2Jbc"
    assert clean("Z" + "\u0301" * 50 + "o") == "Z\u0301o"
    assert clean("狗 🐕 ĐOGE") == "狗 🐕 ĐOGE"
    assert unicodedata.category(clean("\u0301x")[0]) == "Ll"
    assert (short(None), short("MINT"), short("9ZbTXdPSdKZeTCY215Vw")) == ("·", "MINT", "9ZbT…15Vw")
