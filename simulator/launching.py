"""Launches: a token is created, and mostly its creator buys first, in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import keys
from simulator.venues import launchlab, launchlab_trades, pumpfun, pumpfun_trades
from simulator.wallets import SOL
from simulator.words import words

if TYPE_CHECKING:
    from simulator.curves import CurveKind
    from simulator.draft import Draft
    from simulator.market import Market

_STABLE_TARGETS = (12_500_000_000, 5_000_000_000)
_SOL_TARGETS = (85 * SOL, 85 * SOL, 40 * SOL)


def launch(market: Market, draft: Draft) -> str:
    """Launch a token on one of the launchpads."""
    from simulator.market import Listing  # noqa: PLC0415 - launching and market need each other

    user, rng = draft.payer, market.rng
    number = market.mint_number()
    venue = _lab(market, user, number) if rng.random() < market.mix.lab else _pump(market, user, number)
    spend = int((0.05 + rng.random() ** 3 * 4) * SOL)
    if venue.quote in (keys.USDC, keys.USD1):
        spend //= 7  # some 140 stable coins a SOL, at six decimals
    market.wallets.fund(user, venue.quote, 2 * spend)
    if isinstance(venue, pumpfun.Curve):
        legacy = market.world.token_program(venue.mint) == keys.TOKEN
        pumpfun.create(draft, draft.calls, venue, user, words(rng, "ipfs.io/ipfs"), legacy=legacy)
    else:
        launchlab.create(draft, draft.calls, venue, user, words(rng, "gateway.irys.xyz"))
    listing = Listing(venue.mint, venue, user)
    if rng.random() < 0.85:
        _first_buy(draft, venue, user, spend)
        listing.holders.append(user)
    draft.after(lambda: market.listed(listing))
    return "launch"


def _pump(market: Market, user: bytes, number: int) -> pumpfun.Curve:
    world, rng = market.world, market.rng
    mint = world.keys.vanity("pump", "mint", number)
    legacy = rng.random() < 0.2
    stable = not legacy and rng.random() < market.mix.stable
    pumpfun.new_mint(world, mint, keys.TOKEN if legacy else keys.TOKEN_2022)
    flags: tuple[pumpfun.Flag, ...] = ("mayhem", "cashback", "holder_reward")
    flag = rng.choice(flags) if not legacy and rng.random() < 0.24 else None
    return pumpfun.new_curve(world, mint, user, keys.USDC if stable else keys.ZERO, flag)


def _lab(market: Market, user: bytes, number: int) -> launchlab.LaunchPool:
    world, rng = market.world, market.rng
    mint = world.keys.vanity("bonk", "mint", number)
    if rng.random() < 0.3:
        mint = b"\0" + mint[1:]  # sorts before its quote, so that it is token 0 of its CPMM pool
    launchlab.new_mint(world, mint, keys.TOKEN_2022 if rng.random() < 0.3 else keys.TOKEN)
    stable = rng.random() < market.mix.stable
    # A linear curve's slope is a whole number, which for the small raise of a stable coin would round to nothing.
    kinds: tuple[CurveKind, ...] = ("constant",) * 8 + ("fixed", "fixed" if stable else "linear")
    return launchlab.new_pool(
        world, mint, user, keys.USD1 if stable else keys.WSOL, rng.choice(launchlab.PLATFORMS), rng.choice(kinds),
        rng.choice(_STABLE_TARGETS if stable else _SOL_TARGETS),
    )  # fmt: skip


def _first_buy(draft: Draft, venue: pumpfun.Curve | launchlab.LaunchPool, user: bytes, spend: int) -> None:
    """Let the creator buy."""
    draft.account(draft.calls, user, venue.mint)
    if isinstance(venue, pumpfun.Curve):
        pumpfun_trades.buy(draft, draft.calls, venue, user, spend, version=1 if venue.is_sol else 2, exact_in=True)
        return
    if venue.quote == keys.WSOL:
        draft.wrap(draft.calls, user, spend)
    launchlab_trades.buy(draft, draft.calls, venue, user, spend)
