"""Candles computed in Python from the raw integers of `transactions`: slow, and obviously right."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import asyncpg

WIDTHS = {"1s": 1, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
_COUNT_TRADERS = ("1s", "1m", "5m", "15m", "1h")
_TOKENS = """
SELECT t.id, t.mint, t.symbol, t.curve_id, t.graduation_pool_id, t.graduated_at, m.decimals
  FROM tokens t JOIN mints m ON m.id = t.id
"""

Row = dict[str, Any]
Candles = dict[tuple[Any, ...], Row]
"""Rows by bucket and whose they are; numbers are integers or fractions."""


@dataclass(frozen=True, slots=True)
class Raw:
    """What there is to compute from: trades that stand, tokens, and quotes by id."""

    trades: list[Row]
    tokens: list[Row]
    mints: dict[int, Row]


async def raw(connection: asyncpg.Connection) -> Raw:
    """Read trades as they stand."""
    trades = await connection.fetch("SELECT * FROM transactions WHERE voided_at IS NULL")
    tokens = await connection.fetch(_TOKENS)
    mints = await connection.fetch("SELECT * FROM mints")
    return Raw([dict(row) for row in trades], [dict(row) for row in tokens], {row["id"]: dict(row) for row in mints})


async def stored(connection: asyncpg.Connection, kind: str, level: str) -> Candles:
    """Return what the database's `pool` or `token` candles of a level say."""
    view, keys = ("price_candles", ("pool_id", "token_id")) if kind == "pool" else ("token_candles", ("mint",))
    rows = [dict(row) for row in await connection.fetch(f"SELECT * FROM {view}_{level}")]
    found = {(row["bucket"], *(row[key] for key in keys), row["quote_id"]): _exact(row) for row in rows}
    assert len(found) == len(rows), f"{view}_{level} has a bucket twice"
    return found


def pool_candles(found: Raw, level: str) -> Candles:
    """Compute `price_candles_*`."""
    candles: Candles = {}
    for (bucket, pool_id, token_id, quote_id), trades in _grouped(found.trades, level, _of_pool).items():
        first, last, shown = trades[0], trades[-1], _marked(trades)
        whole = [trade for trade in trades if trade["organic"]]
        row = {
            "bucket": bucket,
            "pool_id": pool_id,
            "token_id": token_id,
            "quote_id": quote_id,
            "open": _price(first["quote_amount"], first["base_amount"]),
            "high": max(_price(trade["quote_amount"], trade["base_amount"]) for trade in trades),
            "low": min(_price(trade["quote_amount"], trade["base_amount"]) for trade in trades),
            "close": _price(last["quote_amount"], last["base_amount"]),
            "open_base": first["base_amount"],
            "open_quote": first["quote_amount"],
            "close_base": last["base_amount"],
            "close_quote": last["quote_amount"],
            "mark_close": _price(shown["mark_quote"], shown["mark_base"]) if shown and shown["mark_base"] else None,
            "mark_base": shown and shown["mark_base"],
            "mark_quote": shown and shown["mark_quote"],
            "volume_base": sum(trade["base_amount"] for trade in whole),
            "volume_quote": sum(trade["quote_amount"] for trade in whole),
            "buy_volume": sum(trade["quote_amount"] for trade in whole if trade["side"] == "buy"),
            "sell_volume": sum(trade["quote_amount"] for trade in whole if trade["side"] == "sell"),
            "trade_count": len(whole),
            "first_order": first["chain_order"],
            "last_order": last["chain_order"],
        }
        if level in _COUNT_TRADERS:
            for side in ("buy", "sell"):
                row[f"{side}ers"] = len({trade["trader"] for trade in whole if trade["side"] == side})
        candles[bucket, pool_id, token_id, quote_id] = row
    return candles


def token_candles(found: Raw, level: str) -> Candles:
    """Compute `token_candles_*`."""
    tokens = {token["id"]: token for token in found.tokens}

    def of_token(trade: Row) -> tuple[Any, ...] | None:
        token = tokens.get(trade["token_id"])
        if token is None or trade["pool_id"] not in _markets(token, _bucket(trade, level), level):
            return None
        return (token["id"], trade["quote_id"])

    candles: Candles = {}
    for (bucket, token_id, quote_id), trades in _grouped(found.trades, level, of_token).items():
        token, quote = tokens[token_id], found.mints[quote_id]
        first, last, shown = trades[0], trades[-1], _marked(trades)
        whole = [trade for trade in trades if trade["organic"]]
        base_unit, quote_unit = (
            None if decimals is None else Fraction(1, 10**decimals)
            for decimals in (token["decimals"], quote["decimals"])
        )
        unit = None if base_unit is None or quote_unit is None else quote_unit / base_unit
        prices = [_price(trade["quote_amount"], trade["base_amount"]) for trade in trades]
        mark = _price(shown["mark_quote"], shown["mark_base"]) if shown and shown["mark_base"] else None
        candles[bucket, token["mint"], quote_id] = {
            "bucket": bucket,
            "mint": token["mint"],
            "symbol": token["symbol"],
            "token_id": token_id,
            "quote_id": quote_id,
            "quote_symbol": quote["symbol"] or quote["address"],
            "open": _times(_price(first["quote_amount"], first["base_amount"]), unit),
            "high": _times(max(prices), unit),
            "low": _times(min(prices), unit),
            "close": _times(_price(last["quote_amount"], last["base_amount"]), unit),
            "mark_close": _times(mark, unit),
            "volume_base": _times(sum(trade["base_amount"] for trade in whole), base_unit),
            "volume_quote": _times(sum(trade["quote_amount"] for trade in whole), quote_unit),
            "buy_volume": _times(_quotes(whole, "buy"), quote_unit),
            "sell_volume": _times(_quotes(whole, "sell"), quote_unit),
            "trade_count": len(whole),
            "first_order": first["chain_order"],
            "last_order": last["chain_order"],
        }
    return candles


def without(candles: Candles, marks: Iterable[tuple[datetime, datetime]], level: str) -> Candles:
    """Return the candles that no mark speaks of."""
    width = timedelta(seconds=WIDTHS[level])
    ranges = list(marks)
    return {
        key: row
        for key, row in candles.items()
        if not any(first < key[0] + width and key[0] <= last for first, last in ranges)
    }


def _grouped(
    trades: list[Row], level: str, owner: Callable[[Row], tuple[Any, ...] | None]
) -> Mapping[tuple[Any, ...], list[Row]]:
    """Return trades that have a price by bucket and owner, each in the order of the chain."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for trade in trades:
        whose = owner(trade) if trade["base_amount"] > 0 else None
        if whose is not None:
            groups[_bucket(trade, level), *whose].append(trade)
    for group in groups.values():
        # Trades of two pools whose places in the block are not known may have one number.
        group.sort(key=lambda trade: (trade["chain_order"], trade["quote_amount"], trade["base_amount"]))
    return groups


def _of_pool(trade: Row) -> tuple[Any, ...]:
    return (trade["pool_id"], trade["token_id"], trade["quote_id"])


def _markets(token: Row, bucket: datetime, level: str) -> set[int]:
    """Return the pools that make a token's price in a bucket."""
    both = {pool for pool in (token["curve_id"], token["graduation_pool_id"]) if pool is not None}
    if token["graduated_at"] is None:
        return both
    turn = datetime.fromtimestamp(_floor(token["graduated_at"], level), UTC)
    if bucket == turn:
        return both
    return {token["curve_id"] if bucket < turn else token["graduation_pool_id"]}


def _bucket(trade: Row, level: str) -> datetime:
    return datetime.fromtimestamp(_floor(trade["block_time"], level), UTC)


def _floor(at: datetime, level: str) -> int:
    return int(at.timestamp()) // WIDTHS[level] * WIDTHS[level]


def _marked(trades: list[Row]) -> Row | None:
    told = [
        trade
        for trade in trades
        if trade["mark_base"] is not None and trade["mark_quote"] is not None and not trade["synthetic"]
    ]
    return max(told, key=lambda trade: (trade["chain_order"], trade["mark_quote"], trade["mark_base"]), default=None)


def _price(quote: int, base: int) -> Fraction:
    """Quote per base with 18 decimals, rounded half up."""
    return Fraction((quote * 10**18 * 2 + base) // (base * 2), 10**18)


def _quotes(trades: list[Row], side: str) -> int:
    return sum(trade["quote_amount"] for trade in trades if trade["side"] == side)


def _times(value: Fraction | int | None, unit: Fraction | None) -> Fraction | None:
    return None if value is None or unit is None else value * unit


def _exact(row: Row) -> Row:
    names = ("open", "high", "low", "close", "mark_close")
    return {
        name: Fraction(value) if value is not None and (name in names or "volume" in name) else value
        for name, value in row.items()
    }
