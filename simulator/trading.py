"""Trades: snipers, crowds, dumps, bundles, routers; and what keepers do with fees and boosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import keys
from simulator.calls import SIGNER, WRITABLE, Call
from simulator.venues import cpmm, launchlab_trades, pumpfun_trades, pumpswap_pools, pumpswap_trades
from simulator.venues.cpmm import CpmmPool
from simulator.venues.launchlab import LaunchPool
from simulator.venues.pumpfun import Curve
from simulator.venues.pumpswap import Pool
from simulator.wallets import SOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.draft import Draft, Parts
    from simulator.market import Listing, Market
    from simulator.venues.pumpfun import Version

Venue = Curve | LaunchPool | Pool | CpmmPool
_STABLES = (keys.USDC, keys.USD1)
_MOST_ON_CPMM = 2
_POST_COMPLETE = 0.3  # share of completing buys by v3, which may fill from the future pool


def trade(market: Market, draft: Draft, listing: Listing) -> str:
    """Let somebody buy, or a holder sell."""
    bullish = 0.9 if market.is_runner(listing) else 0.5
    holder = None if market.rng.random() < bullish else _holder(market, listing)
    if holder is None:
        _buy(market, draft, listing, draft.payer, _spend(market, listing))
    else:
        draft.payer = holder
        market.wallets.fund(holder, keys.ZERO, SOL // 10)
        _sell(market, draft, listing, holder)
    return "trade"


def snipe(market: Market, draft: Draft, listing: Listing) -> str:
    """Buy a token that was just launched."""
    if not listing.open:
        return trade(market, draft, market.pick())
    _buy(market, draft, listing, draft.payer, _scaled(listing, int((0.2 + market.rng.random()) * SOL)))
    return "trade"


def bundle(market: Market, draft: Draft) -> str:
    """Let several wallets buy in one transaction: more than one event of the same name by the same program."""
    listing = market.pick()
    buyers = {draft.payer, *[market.wallets.any() for _ in range(market.rng.randrange(1, 4))]}
    spends = {buyer: _scaled(listing, int((0.1 + market.rng.random()) * SOL)) for buyer in sorted(buyers)}
    if isinstance(listing.venue, CpmmPool):  # more make a log that is cut, and what CPMM says stands nowhere else
        spends = dict(list(spends.items())[:_MOST_ON_CPMM])
    for buyer, spend in spends.items():
        market.wallets.fund(buyer, listing.venue.quote, 2 * spend + SOL // 10)
    for buyer, spend in spends.items():
        if not listing.open and draft.calls:
            break
        _buy_from(market, draft, draft.calls, listing, buyer, spend)
    return "bundle"


def sweep(market: Market, draft: Draft) -> str:
    """Pay out kept fees, of a curve or a pool."""
    creator = market.rng.random() < 0.5
    curve, pool = market.curve_with_fees(), market.pool_of(Pool)
    if curve and (curve.unclaimed_creator if creator else curve.unclaimed_protocol):
        pumpfun_trades.sweep(draft, draft.calls, curve, draft.payer, creator=creator)
    elif pool and (pool.unclaimed_creator if creator else pool.unclaimed_protocol):
        pumpswap_pools.sweep(draft, draft.calls, pool, draft.payer, creator=creator)
    else:
        return trade(market, draft, market.pick())
    return "sweep"


def boost(market: Market, draft: Draft) -> str:
    """Spend a slice of a pool's boost vault."""
    pool = market.pool_of(Pool)
    if pool is None or pool.boost_left == 0:
        return trade(market, draft, market.pick())
    authority = market.world.keys.key("boost authority")
    market.wallets.fund(authority, keys.ZERO, SOL)
    draft.payer = authority
    pumpswap_trades.boost_burn(draft, draft.calls, pool, authority, min(pool.boost_left, SOL // 2))
    return "boost"


def _holder(market: Market, listing: Listing) -> bytes | None:
    """Return a wallet that still holds the token, forgetting those that do not."""
    holders, world = listing.holders, market.world
    for _ in range(min(4, len(holders))):
        at = market.rng.randrange(len(holders))
        if world.bank.amount(world.ata(holders[at], listing.mint)) > 1_000:
            return holders[at]
        holders[at] = holders[-1]
        holders.pop()
    return None


def _spend(market: Market, listing: Listing) -> int:
    """Draw how much quote a buyer spends."""
    median = 0.8 if market.is_runner(listing) else 0.25
    return _scaled(
        listing, int(min(30.0, median * market.rng.lognormvariate(0, 0.9)) * SOL) + market.rng.randrange(1000)
    )


def _scaled(listing: Listing, lamports: int) -> int:
    """Return the amount in the listing's quote: some 140 stable coins a SOL, at six decimals."""
    return lamports // 7 if listing.venue.quote in _STABLES else lamports


def _buy(market: Market, draft: Draft, listing: Listing, user: bytes, spend: int) -> None:
    """Buy, directly or through routers."""
    market.wallets.fund(user, listing.venue.quote, 2 * spend)
    if market.rng.random() < market.mix.routed:
        _route(market, draft, lambda parts: _buy_from(market, draft, parts, listing, user, spend))
    else:
        _buy_from(market, draft, draft.calls, listing, user, spend)


def _buy_from(market: Market, draft: Draft, parts: Parts, listing: Listing, user: bytes, spend: int) -> None:
    venue, rng = listing.venue, market.rng
    if market.world.ata(user, venue.mint) not in market.world.bank.tokens:
        draft.account(parts, user, venue.mint)
        draft.after(lambda: listing.holders.append(user))
    if venue.quote == keys.WSOL:
        draft.wrap(parts, user, spend + SOL // 1000)
    exact_in = rng.random() < 0.6
    match venue:
        case Curve():
            version = _version(market, venue)
            if pumpfun_trades.tokens_of(venue, spend)[0] == venue.real_tokens and rng.random() < _POST_COMPLETE:
                version = 3
            if venue.cashback:
                # PostCompleteBuyEvent has no member for a cashback, and no cashback coin was made since v3 exists.
                version = min(version, 2)
            pumpfun_trades.buy(draft, parts, venue, user, spend, version=version, exact_in=exact_in)
        case LaunchPool():
            sharer = market.world.keys.key("sharer") if rng.random() < 0.1 else None
            if sharer:
                draft.account(parts, sharer, venue.quote)
            launchlab_trades.buy(
                draft, parts, venue, user, spend, way="exact_in" if exact_in else "exact_out", sharer=sharer
            )
        case Pool():
            pumpswap_trades.buy(draft, parts, venue, user, spend, v2=rng.random() < 0.25, exact_in=exact_in)
        case CpmmPool():
            cpmm.buy(draft, parts, venue, user, spend)
    if isinstance(venue, Curve | LaunchPool) and venue.complete:
        draft.after(lambda: market.completed(listing))


def _version(market: Market, curve: Curve) -> Version:
    roll = market.rng.random()
    if curve.is_sol and roll < 0.6:
        return 1
    return 2 if roll < 0.8 else 3


def _sell(market: Market, draft: Draft, listing: Listing, user: bytes) -> None:
    """Sell a part or all, directly or through routers."""
    if market.rng.random() < market.mix.routed:
        _route(market, draft, lambda parts: _sell_to(market, draft, parts, listing, user))
    else:
        _sell_to(market, draft, draft.calls, listing, user)


def _sell_to(market: Market, draft: Draft, parts: Parts, listing: Listing, user: bytes) -> None:
    venue, rng, world = listing.venue, market.rng, market.world
    account = world.ata(user, venue.mint)
    held = world.bank.amount(account)
    everything = rng.random() < 0.4
    tokens = held if everything else held * rng.randrange(10, 90) // 100
    if not isinstance(venue, Curve) or not venue.is_sol:
        draft.account(parts, user, venue.quote)
    match venue:
        case Curve():
            pumpfun_trades.sell(draft, parts, venue, user, tokens, version=_version(market, venue))
        case LaunchPool():
            launchlab_trades.sell(draft, parts, venue, user, tokens)
        case Pool():
            pumpswap_trades.sell(draft, parts, venue, user, tokens, v2=rng.random() < 0.25)
        case CpmmPool():
            cpmm.sell(draft, parts, venue, user, tokens)
    if everything and rng.random() < 0.5:
        draft.close(parts, account, user)


def _route(market: Market, draft: Draft, act: Callable[[Parts], None]) -> None:
    """Carry out an action below one or two routers, which get all its accounts passed."""
    names = ["router"] if market.rng.random() < 0.7 else ["bot", "router"]
    routers: list[Call] = []
    parts: Parts = draft.calls
    for name in names:
        router = Call(market.world.keys.key(name), (), (), b"\xe5\x17\xcb\x97\x7a\xe3\xad\x2a" + bytes(8), 9_000)
        router.parts.append("Program log: Instruction: Route")
        parts.append(router)
        routers.append(router)
        parts = router.parts
    act(parts)
    for router in reversed(routers):
        pass_accounts(router, draft.payer)


def pass_accounts(router: Call, user: bytes) -> None:
    """Give a router the accounts of the calls it made; only the user signs from outside."""
    flags: dict[bytes, int] = {user: WRITABLE | SIGNER}
    for call in router.inner():
        for address, flag in zip(call.accounts, call.flags, strict=True):
            flags[address] = flags.get(address, 0) | (flag & WRITABLE)
        flags.setdefault(call.program, 0)
    router.accounts, router.flags = tuple(flags), tuple(flags.values())
