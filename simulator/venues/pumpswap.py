"""PumpSwap: the pools that completed pump.fun curves move to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

VENUE = "pumpswap"
MINIMUM_LIQUIDITY = 100
BOOST_BPS = 2_069


@dataclass(slots=True)
class Pool:
    """
    A canonical pool. `virtual_quote` is the boost less the kept fees; the effective quote is the sum of both.

    `swept` left the reserves since the last trade, which no event of reserves tells.
    """

    mint: bytes
    address: bytes
    quote: bytes
    creator: bytes
    coin_creator: bytes
    base_vault: bytes
    quote_vault: bytes
    lp_mint: bytes
    boost_authority: bytes
    mayhem: bool
    cashback: bool
    holder_reward: bool
    base: int
    quote_amount: int
    lp_supply: int
    virtual_quote: int = 0
    boost_left: int = 0
    unclaimed_creator: int = 0
    unclaimed_protocol: int = 0
    swept: int = 0
    fees: dict[str, int] = field(default_factory=dict)

    @property
    def effective(self) -> int:
        """Return the quote reserve that prices follow."""
        return self.quote_amount + self.virtual_quote

    def row(self) -> dict[str, Any]:
        """Return its members for the ledger."""
        return {
            "venue": VENUE,
            "mint": self.mint,
            "quote_mint": self.quote,
            "real_base": self.base,
            "real_quote": self.quote_amount,
            "virtual_quote": self.virtual_quote,
            "mark_base": self.base,
            "mark_quote": self.effective,
            "boost_left": self.boost_left,
            "swept": self.swept,
            "fees": self.fees,
        }
