"""
Exact integer arithmetic of the venues, as their programs compute it.

Amounts are base units, fee rates basis points (pump) or millionths (Raydium). Sources: pump-fun/pump-public-docs and
recorded events for pump.fun and PumpSwap, raydium-sdk-v2 for LaunchLab, raydium-cp-swap for CPMM.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal

BPS = 10_000
PPM = 1_000_000
Q64 = 1 << 64

CurveKind = Literal["constant", "fixed", "linear"]


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)


def ceil_bps(amount: int, bps: int) -> int:
    """Return a fee of `bps` on `amount`, rounded up."""
    return ceil_div(amount * bps, BPS)


def net_of(gross: int, rates: tuple[int, ...]) -> int:
    """Return the most that is left of `gross` after fees (bps) which are charged on what is left, each rounded up."""
    net = gross * BPS // (BPS + sum(rates))
    return net - max(0, net + sum(ceil_bps(net, rate) for rate in rates) - gross)


def quote_for(tokens: int, quote: int, base: int) -> int:
    """pump.fun: return what exactly `tokens` cost, fees excluded (reserves are the virtual ones)."""
    return tokens * quote // (base - tokens) + 1


def tokens_for(net: int, quote: int, base: int) -> int:
    """pump.fun, PumpSwap: return what exactly `net` of quote buys."""
    return (net - 1) * base // (quote + net - 1) if net > 1 else 0


def quote_from(tokens: int, quote: int, base: int) -> int:
    """pump.fun, PumpSwap, CPMM: return what `tokens` sell for, fees excluded."""
    return tokens * quote // (base + tokens)


def amm_quote_for(tokens: int, quote: int, base: int) -> int:
    """PumpSwap: return what exactly `tokens` cost, fees excluded (quote is the effective reserve)."""
    return ceil_div(tokens * quote, base - tokens)


# Market cap in SOL from which the row holds, then lp, protocol and creator bps (pump fee program, 2026-10-08).
_CANONICAL_TIERS = (
    (0, (2, 93, 30)), (420, (20, 5, 95)), (1470, (20, 5, 90)), (2460, (20, 5, 85)), (3440, (20, 5, 80)),
    (4420, (20, 5, 75)), (9820, (20, 5, 70)), (14740, (20, 5, 65)), (19650, (20, 5, 60)), (24560, (20, 5, 55)),
    (29470, (20, 5, 50)), (34380, (20, 5, 45)), (39300, (20, 5, 40)), (44210, (20, 5, 35)), (49120, (20, 5, 30)),
    (54030, (20, 5, 28)), (58940, (20, 5, 25)), (63860, (20, 5, 23)), (68770, (20, 5, 20)), (73681, (20, 5, 18)),
    (78590, (20, 5, 15)), (83500, (20, 5, 13)), (88400, (20, 5, 10)), (93330, (20, 5, 8)), (98240, (20, 5, 5)),
)  # fmt: skip
# The stable-quote table has the same rates from these caps, in whole USDC.
_STABLE_FROM = (0, 59_000, 300_000, 500_000, 700_000, 900_000, *[n * 1_000_000 for n in range(2, 21)])
_LAMPORTS, _MICRO_USDC = 1_000_000_000, 1_000_000
FeeRates = tuple[int, int, int]


def pool_fees(market_cap: int, *, stable: bool) -> FeeRates:
    """PumpSwap: return (lp, protocol, creator) bps of a canonical pool; `market_cap` in base units of the quote."""
    found = _CANONICAL_TIERS[0][1]
    for row, (from_sol, rates) in enumerate(_CANONICAL_TIERS):
        least = _STABLE_FROM[row] * _MICRO_USDC if stable else from_sol * _LAMPORTS
        if market_cap < least:
            break
        found = rates
    return found


@dataclass(frozen=True, slots=True)
class Shares:
    """LaunchLab: one trade's fee and how it is split."""

    total: int
    protocol: int
    platform: int
    creator: int
    share: int


@dataclass(frozen=True, slots=True)
class Rates:
    """LaunchLab: fee rates in millionths of the quote."""

    protocol: int
    platform: int
    creator: int
    share: int = 0

    @property
    def total(self) -> int:
        """All rates together: they are added first, and rounded up once."""
        return self.protocol + self.platform + self.creator + self.share

    def on(self, gross: int) -> Shares:
        """Return the fee on `gross` and its split: the protocol takes what rounding leaves."""
        rates = self.total
        if not rates:
            return Shares(0, 0, 0, 0, 0)
        total = ceil_div(gross * rates, PPM)
        platform, creator, share = (total * rate // rates for rate in (self.platform, self.creator, self.share))
        return Shares(total, total - platform - creator - share, platform, creator, share)

    def gross_for(self, net: int) -> int:
        """Return the least gross amount that leaves at least `net` after fees."""
        gross = ceil_div(net * PPM, PPM - self.total)
        while gross - self.on(gross).total < net:
            gross += 1
        return gross


@dataclass(frozen=True, slots=True)
class Start:
    """LaunchLab: a curve's start values."""

    sell: int
    virtual_base: int
    virtual_quote: int


def launch_start(kind: CurveKind, supply: int, sell: int, raised: int, locked: int = 0, fee: int = 0) -> Start:
    """
    LaunchLab: return the start values of a curve.

    Args:
        sell: Base units for sale; only the constant curve lets the creator choose it.
        raised: Quote units to be raised.
    """
    if kind == "constant":
        rest, room = supply - sell - locked, raised - fee
        gap = room * sell // rest - raised
        return Start(sell, room * sell * sell // rest // gap, raised * raised // gap)
    if kind == "fixed":
        sell = raised * (supply - locked) // (2 * raised - fee)
        return Start(sell, sell, raised)
    sell = 2 * raised * (supply - locked) // (3 * raised - fee)
    return Start(sell, 2 * raised * Q64 // (sell * sell), 0)


def launch_tokens_for(kind: CurveKind, net: int, start: Start, sold: int, raised: int) -> int:
    """LaunchLab: return what exactly `net` of quote buys, before the cut at what is left."""
    if kind == "constant":
        return net * (start.virtual_base - sold) // (start.virtual_quote + raised + net)
    if kind == "fixed":
        return net * start.virtual_base // start.virtual_quote
    return max(0, isqrt(2 * (raised + net) * Q64 // start.virtual_base) - sold)


def launch_quote_for(kind: CurveKind, tokens: int, start: Start, sold: int, raised: int) -> int:
    """LaunchLab: return what exactly `tokens` cost, fees excluded."""
    if kind == "constant":
        return ceil_div(tokens * (start.virtual_quote + raised), start.virtual_base - sold - tokens)
    if kind == "fixed":
        return ceil_div(tokens * start.virtual_quote, start.virtual_base)
    return max(0, _linear_value(start.virtual_base, sold + tokens) - raised)


def launch_quote_from(kind: CurveKind, tokens: int, start: Start, sold: int, raised: int) -> int:
    """LaunchLab: return what `tokens` sell for, fees excluded."""
    if kind == "constant":
        return quote_from(tokens, start.virtual_quote + raised, start.virtual_base - sold)
    if kind == "fixed":
        return tokens * start.virtual_quote // start.virtual_base
    return max(0, raised - _linear_value(start.virtual_base, sold - tokens))


def _linear_value(slope: int, sold: int) -> int:
    """Return the quote behind `sold` tokens whose price rises by slope / 2^64 per token, rounded up."""
    return ceil_div(slope * sold * sold, 2 * Q64)


@dataclass(frozen=True, slots=True)
class Swap:
    """CPMM: one swap. `kept` of the fees stays in the vault but no longer counts as reserve."""

    amount_out: int
    trade_fee: int
    creator_fee: int
    protocol_fee: int
    fund_fee: int
    swapped_in: int
    swapped_out: int


@dataclass(frozen=True, slots=True)
class CpmmRates:
    """CPMM: AmmConfig's rates in millionths; protocol and fund are shares of the trade fee."""

    trade: int = 2_500
    protocol: int = 120_000
    fund: int = 40_000
    creator: int = 500


def cpmm_swap(amount_in: int, vault_in: int, vault_out: int, rates: CpmmRates, *, creator_on_input: bool) -> Swap:
    """CPMM: return what `swap_base_input` gives; vaults are net of fees that already accrued."""
    if creator_on_input:
        total = ceil_div(amount_in * (rates.trade + rates.creator), PPM)
        creator = total * rates.creator // (rates.trade + rates.creator)
        trade = total - creator
    else:
        trade, creator = ceil_div(amount_in * rates.trade, PPM), 0
    less = amount_in - trade - creator
    swapped = quote_from(less, vault_out, vault_in)
    if not creator_on_input:
        creator = ceil_div(swapped * rates.creator, PPM)
    out = swapped if creator_on_input else swapped - creator
    return Swap(out, trade, creator, trade * rates.protocol // PPM, trade * rates.fund // PPM, less, swapped)
