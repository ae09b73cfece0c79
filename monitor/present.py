"""Facts as the JSON objects that people and programs read: `decode`, `tail --json` and the announcements in Redis."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import cache
from typing import Any

from decoders.core.types import Fact, Fault, Trade

# Enough to tell any two prices of a token with 18 decimals apart; an exact quotient may have no end.
_PRICE = Context(prec=18)
# Members that hold small integers; every other one is 64 bits wide, which JSON readers would round.
_SMALL = frozenset({"decimals", "quote_decimals", "depth"})


def fact_json(fact: Fact, *, raw: bool = True) -> dict[str, Any]:
    """
    Return a fact as a JSON object (docs/SCHEMA.md names its members).

    Integers of 64 bits are text, except for `slot`, a number as in the answers of nodes. Signature and slot are None
    where the input had none.

    Args:
        raw: Add the event as its IDL has it (`fields`), and the bytes after that (`tail_hex`).
    """
    shown: dict[str, Any] = {
        "fact": fact.kind,
        "platform": fact.platform,
        "program": fact.program,
        "venue": fact.venue,
        "event": fact.event,
        "nth": fact.nth,
        "signature": fact.signature or None,
        "slot": fact.slot or None,
        "time": time_text(fact.block_time),
    }
    for name in _own_members(type(fact)):
        shown[name] = _member(name, getattr(fact, name))
    _add_prices(shown, fact)
    if isinstance(fact, Fault):
        shown["payload_hex"] = fact.payload.hex()
    if raw:
        record = fact.record
        shown["fields"] = {} if record is None else record.layout.render(record)
        shown["tail_hex"] = "" if record is None else record.tail.hex()
    return shown


def time_text(seconds: int | None) -> str | None:
    """Return Unix seconds as RFC 3339 text in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def price_text(base: int | None, quote: int | None) -> str | None:
    """Return quote base units per base base unit as plain decimal text of up to 18 digits; None where there is none."""
    if not base or quote is None:
        return None
    price = _PRICE.divide(Decimal(quote), Decimal(base))
    return format(price.normalize(_PRICE), "f") if price else "0"


def progress(trade: Trade) -> float | None:
    """Return how much of what its curve sells had been sold after a trade, from 0 to 1; None without curve."""
    if trade.curve_sold is None or not trade.curve_total:
        return None
    return round(min(trade.curve_sold / trade.curve_total, 1.0), 6)


@cache
def _own_members(kind: type[Fact]) -> tuple[str, ...]:
    common = Fact.__struct_fields__
    return tuple(name for name in kind.__struct_fields__ if name not in common and name != "payload")


def _member(name: str, value: Any) -> Any:
    return str(value) if type(value) is int and name not in _SMALL else value


def _add_prices(shown: dict[str, Any], fact: Fact) -> None:
    if "mark_base" in shown:
        shown["mark_price"] = price_text(getattr(fact, "mark_base", None), getattr(fact, "mark_quote", None))
    if isinstance(fact, Trade):
        shown["price"] = price_text(fact.base_amount, fact.quote_amount)
        shown["progress"] = progress(fact)
