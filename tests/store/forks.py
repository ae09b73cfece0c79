"""A chain with forks: what was heard of it, and what it is in the end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from decoders.core.types import Launch, Record, Trade
from tests.store.facts import (
    BLOCK_TIME,
    SLOT,
    curve_complete,
    fault,
    graduation,
    launch,
    other,
    pool_created,
    swap,
    trade,
)

if TYPE_CHECKING:
    from decoders.core.types import Fact

SLOTS = range(SLOT, SLOT + 6)


@dataclass
class Forked:
    """
    What became of some transactions.

    `chain` are facts by slot, as they are final. `heard` are these and others that vanished, in any order and number.
    """

    chain: dict[int, list[Fact]] = field(default_factory=lambda: {slot: [] for slot in SLOTS})
    heard: list[Fact] = field(default_factory=list)

    @property
    def final(self) -> list[Fact]:
        """Every fact of the final chain, in order."""
        return [fact for slot in SLOTS for fact in self.chain[slot]]


def forked(seed: int) -> Forked:
    """Draw what happens; all of it follows from the seed."""
    dice = random.Random(seed)
    found = Forked()
    slot, index = SLOTS[0], 0
    for number, facts in enumerate(_transactions(dice)):
        if dice.random() < 0.2 and slot < SLOTS[-1]:
            slot, index = slot + 1, 0
        index += 1
        there = [_at(fact, slot, index, nth, f"signature{number}") for nth, fact in enumerate(facts)]
        fate = dice.choice(["stands", "stands", "stands", "vanishes", "moves", "moves in time", "misses"])
        if _is_second_launch(found.final, there):
            fate = "vanishes"
        if fate != "vanishes":
            found.chain[slot] += there
        if fate != "misses":  # the chain has it, and nobody told
            found.heard += there
        if fate in ("moves", "moves in time"):
            elsewhere = dice.choice([other_slot for other_slot in SLOTS if other_slot != slot])
            keep_time = there[0].block_time if fate == "moves" else None
            found.heard += [_executed_elsewhere(dice, fact, elsewhere, keep_time) for fact in there]
    found.heard += dice.sample(found.heard, len(found.heard) // 3)
    found.heard = [fact if dice.random() < 0.7 else _poorer(dice, fact) for fact in found.heard]
    dice.shuffle(found.heard)
    return found


def _is_second_launch(final: list[Fact], facts: list[Fact]) -> bool:
    """A mint is made once; another launch of it can only be on another fork."""
    launched = [fact.mint for fact in (*final, *facts) if isinstance(fact, Launch)]
    return len(launched) > len(set(launched))


def _at(fact: Fact, slot: int, index: int, nth: int, signature: str) -> Fact:
    place = {"slot": slot, "block_time": BLOCK_TIME + slot // 2, "index": index, "position": 3 + nth, "nth": nth}
    return msgspec.structs.replace(fact, signature=signature, **place)


def _executed_elsewhere(dice: random.Random, fact: Fact, slot: int, block_time: int | None) -> Fact:
    """Return the fact as another fork told it: in another slot, perhaps of another time, trades at another price."""
    at = block_time if block_time is not None else BLOCK_TIME + slot // 2
    fact = msgspec.structs.replace(fact, slot=slot, block_time=at, index=dice.randrange(90, 99))
    if isinstance(fact, Trade):
        fact = msgspec.structs.replace(fact, base_amount=dice.randrange(1, 99), mark_base=dice.randrange(1, 99))
    return fact


def _poorer(dice: random.Random, fact: Fact) -> Fact:
    members = {"lp_fee": None, "curve_sold": None, "supply": None} if isinstance(fact, Trade) else {}
    return msgspec.structs.replace(fact, index=dice.choice([None, fact.index]), **members)


def _transactions(dice: random.Random) -> list[list[Fact]]:
    """Return the facts of each transaction, by the lives of a few tokens told in turns."""
    lives = [_life(dice, f"mint{token}", f"curve{token}", f"pool{token}") for token in range(dice.randint(1, 3))]
    found: list[list[Fact]] = []
    while lives:
        life = dice.choice(lives)
        found.append([life.pop(0) for _ in range(min(len(life), dice.choice([1, 1, 2])))])
        lives = [life for life in lives if life]
    return found


def _life(dice: random.Random, mint: str, curve: str, pool: str) -> list[Fact]:
    """Return what happens to a token. All trades of a pool say the same of it, as they do on the chain."""
    record = Record(None, (), b"\x09", b"whole\x09") if dice.random() < 0.5 else None
    on_curve = {"mint": mint, "pool": curve, "decimals": dice.choice([None, 6]), "platform_config": "config"}
    on_pool = {"mint": mint, "pool": pool, "platform": dice.choice([None, "pumpfun"]), "flipped": dice.random() < 0.3}
    names = {"mint": mint, "pool": curve}

    def marks() -> dict[str, int]:
        return {name: dice.randrange(1, 99) for name in ("mark_base", "mark_quote", "base_amount")}

    def buy() -> Fact:
        return trade(**on_curve, **marks(), curve_sold=dice.randrange(99), record=record)

    def sell() -> Fact:
        return swap(**on_pool, **marks(), supply=dice.choice([None, 1 << 63, 9]), real_base=dice.choice([None, 7]))

    story: list[Fact] = [
        launch(**names, record=record, token_program="Token", is_mayhem=False),
        buy(),
        launch(**names, name="Again", payer="somebody else"),
        buy(),
        other(**names, creator=f"creator{dice.randrange(9)}", mark_base=5, mark_quote=dice.randrange(1, 9)),
        other(pool=curve, virtual_quote=dice.randrange(-9, 9), real_quote=dice.choice([None, 8])),
        buy(),
        fault(payload=dice.randbytes(3)),
        curve_complete(**names, trader="last"),
        pool_created(mint=mint, pool=pool, base_amount=dice.randrange(1, 9), canonical=dice.random() < 0.5),
        graduation(mint=mint, pool=curve, to_pool=pool, quote_amount=dice.choice([None, 5]), decimals=6),
        sell(),
        other(mint=mint, pool=pool, venue="pumpswap", supply=dice.randrange(1 << 63, 1 << 64)),
        sell(),
        other(pool=pool, venue="pumpswap", real_base=dice.randrange(9)),
        sell(),
    ]
    return [fact for fact in story if dice.random() < 0.8]
