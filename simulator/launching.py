"""Launches: a token is created, and mostly its creator buys first, in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import keys
from simulator.venues import launchlab, pumpfun
from simulator.wallets import SOL
from simulator.words import words

if TYPE_CHECKING:
    from simulator.curves import CurveKind
    from simulator.draft import Draft
    from simulator.market import Market
    from simulator.trading import Venue

_STABLE_TARGETS = (12_500_000_000, 5_000_000_000)
_SOL_TARGETS = (85 * SOL, 85 * SOL, 40 * SOL)


def launch(market: Market, draft: Draft) -> str:
    """Launch a token on one of the launchpads."""
    from simulator.market import Listing  # noqa: PLC0415 - launching and market need each other

    user = draft.payer
    number = len(market.world.bank.mints)
    lab = market.rng.random() < market.mix.lab
    venue = _lab(market, draft, user, number) if lab else _pump(market, draft, user, number)
    listing = Listing(venue.mint, venue, user)
    if market.rng.random() < 0.85:
        _first_buy(market, draft, listing.venue, user)
        draft.after(lambda: listing.holders.append(user))
    draft.after(lambda: market.listed(listing))
    return "launch"


def _pump(market: Market, draft: Draft, user: bytes, number: int) -> pumpfun.Curve:
    world, rng = market.world, market.rng
    mint = world.keys.vanity("pump", "mint", number)
    legacy = rng.random() < 0.2
    stable = not legacy and rng.random() < market.mix.stable
    pumpfun.new_mint(world, mint, keys.TOKEN if legacy else keys.TOKEN_2022)
    flags: tuple[pumpfun.Flag, ...] = ("mayhem", "cashback", "holder_reward")
    flag = rng.choice(flags) if not legacy and rng.random() < 0.24 else None
    curve = pumpfun.new_curve(world, mint, user, keys.USDC if stable else keys.ZERO, flag)
    pumpfun.create(draft, draft.calls, curve, user, words(rng, "ipfs.io/ipfs"), legacy=legacy)
    return curve


def _lab(market: Market, draft: Draft, user: bytes, number: int) -> launchlab.LaunchPool:
    world, rng = market.world, market.rng
    mint = world.keys.vanity("bonk", "mint", number)
    if rng.random() < 0.3:
        mint = b"\0" + mint[1:]  # sorts before its quote, so that it is token 0 of its CPMM pool
    launchlab.new_mint(world, mint, keys.TOKEN_2022 if rng.random() < 0.3 else keys.TOKEN)
    stable = rng.random() < market.mix.stable
    # A linear curve's slope is a whole number, which for the small raise of a stable coin would round to nothing.
    kinds: tuple[CurveKind, ...] = ("constant",) * 8 + ("fixed", "fixed" if stable else "linear")
    pool = launchlab.new_pool(
        world, mint, user, keys.USD1 if stable else keys.WSOL, rng.choice(launchlab.PLATFORMS), rng.choice(kinds),
        rng.choice(_STABLE_TARGETS if stable else _SOL_TARGETS),
    )  # fmt: skip
    launchlab.create(draft, draft.calls, pool, user, words(rng, "gateway.irys.xyz"))
    return pool


def _first_buy(market: Market, draft: Draft, venue: Venue, user: bytes) -> None:
    """Let the creator buy; once in a while the whole curve."""
    rng = market.rng
    spend = int((0.05 + rng.random() ** 3 * 4) * SOL)
    quote = venue.quote
    if quote in (keys.USDC, keys.USD1):
        spend //= 7  # some 140 stable coins a SOL, at six decimals
    market.wallets.fund(user, quote, 2 * spend)
    draft.account(draft.calls, user, venue.mint)
    if isinstance(venue, pumpfun.Curve):
        pumpfun.buy(draft, draft.calls, venue, user, spend, version=1 if venue.is_sol else 2, exact_in=True)
    elif isinstance(venue, launchlab.LaunchPool):
        if quote == keys.WSOL:
            draft.wrap(draft.calls, user, spend)
        launchlab.buy(draft, draft.calls, venue, user, spend)
