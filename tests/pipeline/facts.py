"""Facts made for tests: as plain as they can be, each member of the caller's choice."""

from __future__ import annotations

from typing import Any

from decoders.core.types import WSOL, CurveComplete, Graduation, Launch, PoolCreated, Trade

PUMPFUN = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"
PUMPSWAP = "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA"


def _common(**members: Any) -> dict[str, Any]:
    return {
        "program": PUMPFUN,
        "venue": "pumpfun",
        "event": "TradeEvent",
        "nth": 0,
        "signature": "sig",
        "slot": 100,
        "block_time": 1_790_000_000,
        "index": None,
        "position": 0,
        "platform": "pumpfun",
        **members,
    }


def trade(**members: Any) -> Trade:
    """Return a buy on a Pump.fun curve."""
    given = {
        "mint": "mint",
        "pool": "curve",
        "trader": "trader",
        "side": "buy",
        "base_amount": 10,
        "quote_amount": 20,
        "user_quote_amount": 21,
        "quote_mint": WSOL,
        "mark_base": 1000,
        "mark_quote": 2000,
    }
    return Trade(**_common(**(given | members)))


def pool_trade(**members: Any) -> Trade:
    """Return a buy on a PumpSwap pool that nobody vouches for."""
    given = {"program": PUMPSWAP, "venue": "pumpswap", "event": "BuyEvent", "pool": "pool", "platform": None}
    return trade(**(given | {"canonical": False} | members))


def launch(**members: Any) -> Launch:
    """Return a launch on Pump.fun."""
    given = {
        "event": "CreateEvent",
        "mint": "mint",
        "pool": "curve",
        "creator": "creator",
        "payer": "creator",
        "name": "Name",
        "symbol": "SYM",
        "uri": "",
        "decimals": 6,
        "supply": 10**15,
        "quote_mint": WSOL,
    }
    return Launch(**_common(**(given | members)))


def complete(**members: Any) -> CurveComplete:
    """Return a completed curve."""
    given = {"event": "CompleteEvent", "mint": "mint", "pool": "curve", "trader": "trader", "quote_mint": WSOL}
    return CurveComplete(**_common(**(given | members)))


def graduation(**members: Any) -> Graduation:
    """Return a graduation to PumpSwap."""
    given = {
        "event": "CompletePumpAmmMigrationEvent",
        "mint": "mint",
        "pool": "curve",
        "to_pool": "pool",
        "to_venue": "pumpswap",
        "quote_mint": WSOL,
    }
    return Graduation(**_common(**(given | members)))


def pool_created(**members: Any) -> PoolCreated:
    """Return a PumpSwap pool opened by anybody."""
    given = {
        "program": PUMPSWAP,
        "venue": "pumpswap",
        "event": "CreatePoolEvent",
        "platform": None,
        "mint": "mint",
        "pool": "pool",
        "quote_mint": WSOL,
        "creator": "creator",
    }
    return PoolCreated(**_common(**(given | members)))
