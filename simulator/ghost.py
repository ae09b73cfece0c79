"""A market beside the market: what happens in it happens on a fork, and leaves nothing behind."""

from __future__ import annotations

import copy
from random import Random
from typing import TYPE_CHECKING

from simulator.bank import Bank
from simulator.ledger import Ledger
from simulator.overlay import Overlay

if TYPE_CHECKING:
    from simulator.market import Market
    from simulator.world import World


def ghost_of(market: Market, branch: int) -> Market:
    """
    Return a market that begins as this one stands, with a world of its own.

    Args:
        branch: The number of the fork, from 1: its tokens and draws are not those of the market, nor of another fork.
    """
    found = copy.copy(market)
    found.world = _world(market.world)
    found.rng = Random(f"{branch}/{market.world.keys.drawn}")
    found.wallets = market.wallets.elsewhere(found.world, found.rng)
    found.branch = branch
    found.meant = []
    found.own_listings()
    return found


def _world(world: World) -> World:
    found = copy.copy(world)
    found.keys = copy.copy(world.keys)
    found.bank = _bank(world.bank)
    found.ledger = Ledger(found.bank)
    found.ledger.pools = Overlay(world.ledger.pools, copy.copy)
    return found


def _bank(bank: Bank) -> Bank:
    found = Bank()
    found.lamports = Overlay(bank.lamports, int)
    found.tokens = Overlay(bank.tokens, copy.copy)
    found.mints = Overlay(bank.mints, copy.copy)
    return found
