"""Facts for the tests of the store, with every member that a test does not care about filled in."""

from __future__ import annotations

from typing import Any

from decoders.core.types import WSOL, CurveComplete, Fault, Graduation, Launch, Other, PoolCreated, Trade

PROGRAMS = {
    "pumpfun": "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P",
    "pumpswap": "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA",
}
MINT = "Mint111111111111111111111111111111111111pump"
CURVE = "Curve11111111111111111111111111111111111111"
POOL = "Poo1111111111111111111111111111111111111111"
CREATOR = "Creator111111111111111111111111111111111111"
TRADER = "Trader1111111111111111111111111111111111111"
FOR_SALE = 793_100_000_000_000
SUPPLY = 1_000_000_000_000_000
SLOT = 455_000_000
BLOCK_TIME = 1_790_000_000
SIGNATURE = "5" * 88


def _place(given: dict[str, Any], event: str, venue: str = "pumpfun") -> dict[str, Any]:
    """Return the members of every fact, with what a test gives in place of the defaults."""
    venue = given.pop("venue", venue)
    defaults = {
        "program": PROGRAMS[venue],
        "venue": venue,
        "platform": "pumpfun",
        "event": event,
        "nth": 0,
        "signature": SIGNATURE,
        "slot": SLOT,
        "block_time": BLOCK_TIME,
        "index": 7,
        "position": 3,
    }
    return defaults | given


def launch(**given: Any) -> Launch:
    """A launch on Pump.fun."""
    defaults = {
        "mint": MINT,
        "pool": CURVE,
        "creator": CREATOR,
        "payer": CREATOR,
        "name": "Name",
        "symbol": "SYM",
        "uri": "https://example.invalid/1.json",
        "decimals": 6,
        "supply": SUPPLY,
        "quote_mint": WSOL,
        "for_sale": FOR_SALE,
        "mark_base": 1_073_000_000_000_000,
        "mark_quote": 30_000_000_000,
    }
    return Launch(**_place(defaults | given, "CreateEvent"))


def trade(**given: Any) -> Trade:
    """A buy on a curve of Pump.fun."""
    defaults = {
        "mint": MINT,
        "pool": CURVE,
        "trader": TRADER,
        "side": "buy",
        "base_amount": 34_612_903_225_806,
        "quote_amount": 1_000_000_000,
        "user_quote_amount": 1_012_500_000,
        "quote_mint": WSOL,
        "mark_base": 1_038_387_096_774_194,
        "mark_quote": 31_000_000_000,
        "real_base": 758_487_096_774_194,
        "real_quote": 1_000_000_000,
        "curve_sold": 34_612_903_225_806,
        "curve_total": FOR_SALE,
        "protocol_fee": 9_500_000,
        "creator_fee": 3_000_000,
    }
    return Trade(**_place(defaults | given, "TradeEvent"))


def swap(**given: Any) -> Trade:
    """A sell on a pool of PumpSwap."""
    defaults = {
        "venue": "pumpswap",
        "event": "SellEvent",
        "pool": POOL,
        "side": "sell",
        "curve_sold": None,
        "curve_total": None,
        "lp_fee": 20_000,
        "canonical": True,
    }
    return trade(**(defaults | given))


def curve_complete(**given: Any) -> CurveComplete:
    """The end of a curve of Pump.fun."""
    defaults = {"mint": MINT, "pool": CURVE, "trader": TRADER, "quote_mint": WSOL}
    return CurveComplete(**_place(defaults | given, "CompleteEvent"))


def graduation(**given: Any) -> Graduation:
    """A graduation from Pump.fun to PumpSwap."""
    defaults = {
        "mint": MINT,
        "pool": CURVE,
        "to_pool": POOL,
        "to_venue": "pumpswap",
        "quote_mint": WSOL,
        "base_amount": 206_900_000_000_000,
        "quote_amount": 84_990_359_056,
    }
    return Graduation(**_place(defaults | given, "CompletePumpAmmMigrationEvent"))


def pool_created(**given: Any) -> PoolCreated:
    """A pool opened on PumpSwap."""
    defaults = {
        "mint": MINT,
        "pool": POOL,
        "quote_mint": WSOL,
        "creator": CREATOR,
        "base_amount": 206_900_000_000_000,
        "quote_amount": 84_990_359_056,
        "decimals": 6,
        "quote_decimals": 9,
        "canonical": True,
    }
    return PoolCreated(**_place(defaults | given, "CreatePoolEvent", "pumpswap"))


def other(**given: Any) -> Other:
    """Some other event of Pump.fun."""
    return Other(**_place(given, "SetCreatorEvent"))


def fault(**given: Any) -> Fault:
    """Something that could not be read."""
    defaults = {"reason": "unknown discriminator", "payload": b"\x00\x01\x02"}
    return Fault(**_place(defaults | given, "0001020304050607"))
