"""Facts as lines of a table for people: styled text of stable width, whatever a token calls itself."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# How many tokens are remembered by name; the oldest are forgotten.
_MOST_TOKENS = 50_000
# Pump.fun makes every coin alike (program constants, slot 454509826).
_PUMPFUN_DECIMALS, _PUMPFUN_SUPPLY = 6, 10**15
_BLANK = "·"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR_CELLS = 8
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"
_PLAIN = str.maketrans(
    {"…": "~", _BLANK: "-", "→": ">", "░": ".", **dict.fromkeys(_EIGHTHS[1:4], "."), **dict.fromkeys(_EIGHTHS[4:], "#")}
)
_SEPARATOR = "  "
_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


class Quote(NamedTuple):
    """What is paid with."""

    symbol: str
    decimals: int


QUOTES = {
    "So11111111111111111111111111111111111111112": Quote("SOL", 9),
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v": Quote("USDC", 6),
    "USD1ttGY1N17NEEHLmELoaybftRBUSErhqYiQzvEmuB": Quote("USD1", 6),
}


class Token(NamedTuple):
    """What is known of a token."""

    symbol: str
    decimals: int
    supply: int | None
    launched_s: float | None


class Column(NamedTuple):
    """A column: its title and width in cells. `drop` says which goes first where the terminal is narrow (0: never)."""

    name: str
    width: int
    drop: int = 0
    right: bool = False


COLUMNS = (
    Column("time", 8),
    Column("event", 8),
    Column("platform", 10, drop=2),
    Column("symbol", 10),
    Column("age", 4, drop=4, right=True),
    Column("price", 14, right=True),
    Column("mkt cap", 11, drop=5, right=True),
    Column("curve", 13, drop=6),
    Column("amount", 13, drop=3, right=True),
    Column("trader", 9, drop=1),
)
_STYLES = {
    "launch": "bold cyan",
    "buy": "green",
    "sell": "red",
    "complete": "bold yellow",
    "graduate": "bold magenta",
}
_PLATFORMS = {"pumpfun": "pump.fun", "raydium_launchpad": "LaunchLab", "pumpswap": "PumpSwap", "raydium_cpmm": "CPMM",
              "raydium_amm_v4": "AMM v4"}  # fmt: skip


@dataclass(slots=True)
class Table:
    """
    Turns facts (as `fact_json` shows them) into lines.

    It remembers tokens by their launches, because trades do not name them. `is_ascii`: the terminal shows no more.
    """

    columns: Sequence[Column]
    is_ascii: bool = False
    _tokens: dict[str, Token] = field(default_factory=dict)
    _decimals: dict[str, int] = field(default_factory=dict)

    def learn(self, fact: Mapping[str, Any]) -> None:
        """Remember the token that a launch tells of."""
        mint = fact.get("mint")
        if fact.get("fact") != "launch" or mint is None:
            return
        _make_room(self._tokens)
        supply = fact.get("supply")
        self._tokens[mint] = Token(
            fact["symbol"], fact["decimals"], None if supply is None else int(supply), _seconds(fact.get("time"))
        )

    def learn_decimals(self, mint: str, decimals: int) -> None:
        """Remember the decimals of a token whose launch was not seen."""
        if mint not in self._decimals:
            _make_room(self._decimals)
            self._decimals[mint] = decimals

    def header(self) -> Text:
        """Return the titles."""
        return self._line({column.name: column.name.upper() for column in self.columns}, "dim")

    def line(self, fact: Mapping[str, Any]) -> Text:
        """Return a fact's line."""
        self.learn(fact)
        cells = self._cells(fact)
        return self._line(cells, _STYLES.get(cells["event"], ""))

    def _line(self, cells: Mapping[str, str], style: str) -> Text:
        line = Text(no_wrap=True, overflow="crop")
        for number, column in enumerate(self.columns):
            text = cells[column.name]
            text = text.translate(_PLAIN).encode("ascii", "replace").decode() if self.is_ascii else text
            text = _fit(text, column, "~" if self.is_ascii else "…")
            strong = style if column.name in ("event", "symbol") or style == "dim" else ""
            line.append((_SEPARATOR if number else "") + text, strong)
        line.rstrip()
        return line

    def _cells(self, fact: Mapping[str, Any]) -> dict[str, str]:
        token = self._token(fact)
        quote = QUOTES.get(fact.get("quote_mint") or "")
        price = _price(fact, token, quote)
        return {
            "time": _clock(fact.get("time")),
            "event": _event(fact),
            "platform": _PLATFORMS.get(fact["venue"], clean(fact["venue"])),
            "symbol": clean(token.symbol) if token and token.symbol.strip() else short(fact.get("mint")),
            "age": _age(fact, token),
            "price": _BLANK
            if price is None or quote is None
            else f"{small(price, is_ascii=self.is_ascii)} {quote.symbol}",
            "mkt cap": _market_cap(price, token, quote),
            "curve": _curve(fact),
            "amount": _amount(fact, quote),
            "trader": short(fact.get("trader") or fact.get("creator") or fact.get("payer")),
        }

    def _token(self, fact: Mapping[str, Any]) -> Token | None:
        mint = fact.get("mint") or ""
        is_pumpfun = fact.get("platform") == "pumpfun"
        supply = _PUMPFUN_SUPPLY if is_pumpfun else None
        found = self._tokens.get(mint)
        if found is None:
            decimals = _PUMPFUN_DECIMALS if is_pumpfun else self._decimals.get(mint)
            return None if decimals is None else Token("", decimals, supply, None)
        return found._replace(supply=supply) if found.supply is None else found


def _make_room(known: dict[str, Any]) -> None:
    if len(known) >= _MOST_TOKENS:
        del known[next(iter(known))]


def fitting(width: int) -> tuple[Column, ...]:
    """Return the columns that a terminal of this width shows."""
    columns = list(COLUMNS)
    while _width(columns) > width and any(column.drop for column in columns):
        columns.remove(min((column for column in columns if column.drop), key=lambda column: column.drop))
    return tuple(columns)


def bar(share: float) -> str:
    """Return a bar of 8 cells and the percentage; what is not complete does not look so."""
    full, rest = divmod(int(share * _BAR_CELLS * 8), 8)
    cells = "█" * full + (_EIGHTHS[rest] if rest else "")
    return f"{cells:░<{_BAR_CELLS}} {int(share * 100):3d}%"


def small(value: Decimal, *, is_ascii: bool = False) -> str:
    """Return a price in 4 digits, as traders read it: 0.0₆2834 has six zeros after the point (ASCII: 2.834e-7)."""
    if value <= 0:
        return "0"
    exponent = value.adjusted()
    if exponent >= 4:
        return large(value)
    if exponent >= -3:
        return f"{value:.{3 - exponent}f}"
    if is_ascii:
        return f"{value:.3e}"
    digits, _, rounded = f"{value:.3e}".partition("e")  # 9.9995e-13 rounds to another power of ten
    digits, zeros = digits.replace(".", ""), -int(rounded) - 1
    return "0.0" + "".join(_SUBSCRIPTS[int(digit)] for digit in str(zeros)) + digits


def large(value: Decimal) -> str:
    """Return an amount in 3 or 4 digits: 12.34, 1.234K, 56.7M."""
    for size, unit in _UNITS:
        if value >= size:
            return f"{_digits(value / size)}{unit}"
    return _digits(value) if value >= Decimal("0.001") or not value else f"{value:.1e}"


def clean(text: str, most: int = 64) -> str:
    """Return text from the chain without control characters, and no pile of marks on a letter."""
    shown: list[str] = []
    for character in text[:most]:
        if not character.isprintable():
            continue
        if unicodedata.category(character).startswith("M") and (not shown or _is_mark(shown[-1])):
            continue
        shown.append(character)
    return " ".join("".join(shown).split())


def short(address: str | None) -> str:
    """Return the two ends of an address."""
    address = clean(address or "")
    if not address:
        return _BLANK
    return address if len(address) <= 9 else f"{address[:4]}…{address[-4:]}"


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(_SEPARATOR) * (len(columns) - 1)


def _fit(text: str, column: Column, ellipsis: str) -> str:
    if cell_len(text) > column.width:
        return set_cell_size(text, column.width - 1) + ellipsis
    if column.right:
        return " " * (column.width - cell_len(text)) + text
    return set_cell_size(text, column.width)


def _event(fact: Mapping[str, Any]) -> str:
    match fact:
        case {"fact": "trade", "organic": False}:
            return "burn"
        case {"fact": "trade", "side": str(side)}:
            return side
        case {"fact": "curve_complete"}:
            return "complete"
        case {"fact": "graduation"}:
            return "graduate"
        case _:
            return str(fact["fact"])


def _seconds(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()


def _clock(time: str | None) -> str:
    seconds = _seconds(time)
    return _BLANK if seconds is None else datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%H:%M:%S")


def _age(fact: Mapping[str, Any], token: Token | None) -> str:
    now, then = _seconds(fact.get("time")), token.launched_s if token else None
    if fact["fact"] == "launch":
        return "new"
    if now is None or then is None or now < then:
        return _BLANK
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        if now - then >= size:
            return f"{int((now - then) // size)}{unit}"
    return "0s"


def _price(fact: Mapping[str, Any], token: Token | None, quote: Quote | None) -> Decimal | None:
    """Return the mark price in whole quote tokens per whole token; None where it is not known."""
    text = fact.get("mark_price") or fact.get("price")
    if text is None and fact["fact"] == "graduation" and fact.get("base_amount") and fact.get("quote_amount"):
        text = Decimal(fact["quote_amount"]) / Decimal(fact["base_amount"])
    if text is None or token is None or quote is None:
        return None
    return Decimal(text).scaleb(token.decimals - quote.decimals)


def _market_cap(price: Decimal | None, token: Token | None, quote: Quote | None) -> str:
    if price is None or token is None or quote is None or token.supply is None:
        return _BLANK
    return f"{large(price * Decimal(token.supply).scaleb(-token.decimals))} {quote.symbol}"


def _curve(fact: Mapping[str, Any]) -> str:
    match fact:
        case {"fact": "graduation", "to_venue": venue}:
            return f"→ {_PLATFORMS.get(venue, clean(venue))}"
        case {"fact": "launch"}:
            return bar(0.0)
        case {"fact": "curve_complete"}:
            return bar(1.0)
        case {"progress": float() | int() as share}:
            return bar(share)
        case _:
            return _BLANK


def _amount(fact: Mapping[str, Any], quote: Quote | None) -> str:
    amount = fact.get("quote_amount")
    if amount is None or quote is None:
        return _BLANK
    return f"{large(Decimal(amount).scaleb(-quote.decimals))} {quote.symbol}"


def _digits(value: Decimal) -> str:
    """Return a number below 10,000 in about 4 digits."""
    whole = len(str(int(value)))
    return f"{value:.{max(4 - whole, 0) if whole > 1 else 3}f}"
