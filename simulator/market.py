"""The market: draws one transaction after the other, each carried out by the venues' own rules."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from simulator import envelope, keys, trading
from simulator.draft import Draft
from simulator.launching import launch
from simulator.mix import Mix
from simulator.venues import cpmm, pumpswap_pools
from simulator.venues.launchlab import LaunchPool
from simulator.venues.pumpfun import Curve
from simulator.wallets import SOL, Wallets
from simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.trading import Venue
    from simulator.transaction import Transaction
    from simulator.venues import pumpfun
    from simulator.venues.cpmm import CpmmPool
    from simulator.venues.pumpswap import Pool

_FRESH, _KEPT_POOLS = 40, 400


@dataclass(slots=True, eq=False)
class Listing:
    """A token as traders see it: where it trades now, and who holds it."""

    mint: bytes
    venue: Venue
    creator: bytes
    holders: list[bytes] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether it can be traded now (a completed curve waits for its graduation)."""
        return not (isinstance(self.venue, Curve | LaunchPool) and self.venue.complete)


@dataclass(frozen=True, slots=True)
class Meant:
    """What a transaction on a fork was meant to do, so that it can be done again: a trade, or a launch (no pool)."""

    number: int
    payer: bytes
    pool: bytes | None
    mint_number: int


class Market:
    """Draws transactions. The same seed gives the same market, if times and slots are the same."""

    def __init__(self, seed: int = 1, mix: Mix | None = None) -> None:
        self.mix = mix or Mix()
        self.world = World(seed)
        self.rng = Random(seed)
        self.wallets = Wallets(self.world, self.rng, self.mix.wallets)
        self._fresh: deque[Listing] = deque(maxlen=_FRESH)
        self._pools: deque[Listing] = deque(maxlen=_KEPT_POOLS)
        self._runner: Listing | None = None
        self._snipers: deque[Listing] = deque()
        self._later: list[tuple[int, Listing]] = []
        self._count = 0
        self._mint_number: int | None = None
        self.branch = 0
        self.meant: list[Meant] = []

    def next(self, slot: int, index: int, now: int) -> Transaction:
        """Carry out the next transaction at this place of the chain; `now` is the block's time (Unix seconds)."""
        self._count += 1
        action = self._draw()
        payer = self.wallets.any()
        self.wallets.fund(payer, keys.ZERO, SOL // 10)
        draft = Draft(self.world, payer, slot, index, now)
        return envelope.finish(self, draft, action)

    def _draw(self) -> Callable[[Draft], str]:
        """Return what happens next: what was decided before, or something by chance."""
        if self._later and self._later[0][0] <= self._count:
            listing = self._later.pop(0)[1]
            return lambda draft: self._migrate(draft, listing)
        if self._snipers:
            wanted = self._snipers.popleft()
            return lambda draft: trading.snipe(self, draft, wanted)
        mix, roll = self.mix, self.rng.random()
        if roll < mix.launch or not any(listing.open for listing in self._fresh):
            return lambda draft: self._act(draft, None)
        roll -= mix.launch
        for share, action in (
            (mix.noise, envelope.noise), (mix.forged, envelope.forged), (mix.bundle, trading.bundle),
            (mix.sweep, trading.sweep), (mix.boost, trading.boost),
        ):  # fmt: skip
            if roll < share:
                return lambda draft, action=action: action(self, draft)  # type: ignore[misc]  # a bound default
            roll -= share
        return lambda draft: self._act(draft, self.pick())

    def _act(self, draft: Draft, listing: Listing | None) -> str:
        """Trade a listing, or launch one."""
        if self.branch:
            pool = listing.venue.address if listing else None
            self.meant.append(Meant(self.world.keys.drawn, draft.payer, pool, self.mint_number()))
            self.rng.seed(self.world.keys.drawn)  # doing it again draws the same
        return trading.trade(self, draft, listing) if listing else launch(self, draft)

    def again(self, meant: Meant, slot: int, index: int, now: int) -> Transaction | None:
        """
        Do what was meant on a fork, by the same signature; None if its pool was never opened, or is closed.

        What a signature signed names its accounts: it does not move on to another pool with its token.
        """
        listing = self._listing(meant.pool) if meant.pool else None
        if meant.pool and listing is None:
            return None
        before = self.rng
        self.rng = self.wallets.rng = Random(meant.number)
        self._mint_number = meant.mint_number
        self.wallets.fund(meant.payer, keys.ZERO, SOL // 10)
        self.rng.seed(meant.number)
        draft = Draft(self.world, meant.payer, slot, index, now, meant.number)
        made = envelope.finish(self, draft, lambda draft: self._act(draft, listing))
        self.rng = self.wallets.rng = before
        self._mint_number = None
        return made

    def _listing(self, pool: bytes) -> Listing | None:
        found = (listing for listing in (*self._fresh, *self._pools) if listing.venue.address == pool and listing.open)
        return next(found, None)

    def mint_number(self) -> int:
        """Return the number of the next token: no two have the same, on whichever fork."""
        if self._mint_number is not None:
            return self._mint_number
        return len(self.world.bank.mints) + self.branch * 1_000_000_000

    def own_listings(self) -> None:
        """Copy the listings, which another market has as well."""
        mine = (self._fresh, self._pools, self._runner, self._snipers, self._later)
        self._fresh, self._pools, self._runner, self._snipers, self._later = copy.deepcopy(mine)

    def pick(self) -> Listing:
        """Return a listing that can be traded."""
        roll = self.rng.random()
        if self._runner and self._runner.open and roll < self.mix.runner:
            return self._runner
        if self._pools and roll > 1 - self.mix.pools:
            return self._pools[-1 - int(len(self._pools) * self.rng.random() ** 2)]
        for _ in range(10):
            found = self._fresh[-1 - int(len(self._fresh) * self.rng.random() ** 2)]
            if found.open:
                return found
        return next((listing for listing in self._fresh if listing.open), self._fresh[0])

    def is_runner(self, listing: Listing) -> bool:
        """Return whether this token is on its way to graduation."""
        return listing is self._runner

    def listed(self, listing: Listing) -> None:
        """Welcome a new token: snipers come first, and it may be the one that everybody wants."""
        self._fresh.append(listing)
        if self._runner is None and self.rng.random() < 0.6:
            self._runner = listing
        for _ in range(self.rng.randrange(4)):
            self._snipers.append(listing)

    def completed(self, listing: Listing) -> None:
        """Have a completed curve graduate some transactions later."""
        if listing is self._runner:
            self._runner = None
        self._later.append((self._count + self.rng.choice((1, 5, 20, 60)), listing))
        self._later.sort(key=lambda item: item[0])

    def _migrate(self, draft: Draft, listing: Listing) -> str:
        """Graduate a token."""
        venue: Any = listing.venue
        draft.payer = keys.CPMM_WALLET if isinstance(venue, LaunchPool) else keys.KEEPER
        self.wallets.fund(draft.payer, keys.ZERO, SOL)
        target: Pool | CpmmPool
        if isinstance(venue, LaunchPool):
            target = cpmm.migrate(draft, draft.calls, venue)
        else:
            target = pumpswap_pools.migrate(draft, draft.calls, venue, draft.payer)

        def settle() -> None:
            listing.venue = target
            self._pools.append(listing)

        draft.after(settle)
        return "migration"

    def pool_of(self, kind: type[Any]) -> Any:
        """Return a graduated token's pool of this kind, or None."""
        found = [listing.venue for listing in list(self._pools)[-20:] if isinstance(listing.venue, kind)]
        return self.rng.choice(found) if found else None

    def curve_with_fees(self) -> pumpfun.Curve | None:
        """Return a curve that keeps fees, or None."""
        for listing in self._fresh:
            if isinstance(listing.venue, Curve) and listing.venue.unclaimed_protocol and listing.open:
                return listing.venue
        return None
