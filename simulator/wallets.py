"""Traders: a crowd of wallets that come back, and money from outside when they run dry."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from simulator import keys

if TYPE_CHECKING:
    from random import Random

    from simulator.world import World

SOL = 1_000_000_000
_ALLOWANCE = 50_000_000  # rents and fees of one transaction


class Wallets:
    """Draws traders. The busiest ones come back most."""

    def __init__(self, world: World, rng: Random, count: int) -> None:
        self.world = world
        self.rng = rng
        self._crowd = [world.keys.key("wallet", number) for number in range(count)]

    def elsewhere(self, world: World, rng: Random) -> Wallets:
        """Return the same crowd in another world."""
        found = copy.copy(self)
        found.world, found.rng = world, rng
        return found

    def any(self) -> bytes:
        """Return a trader: few trade often, many seldom."""
        return self._crowd[int(len(self._crowd) * self.rng.random() ** 3)]

    def fund(self, wallet: bytes, quote: bytes, amount: int) -> None:
        """Make sure that a wallet can spend `amount` of a quote, and pay rents and fees."""
        bank = self.world.bank
        need = _ALLOWANCE + (amount if quote in (keys.ZERO, keys.WSOL) else 0)
        if bank.lamports.get(wallet, 0) < need:
            bank.grant(wallet, need + int(20 * SOL * self.rng.random()))
        if quote not in (keys.ZERO, keys.WSOL):
            address = self.world.ata(wallet, quote)
            if bank.amount(address) < amount:
                bank.grant_tokens(address, quote, wallet, amount + int(2_000_000_000 * self.rng.random()))
