"""Prove from parents which slots of a range had no block. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


class Link(NamedTuple):
    """What a block says of itself and its parent; `block_time` in Unix seconds (None: it does not)."""

    parent_slot: int
    blockhash: str
    previous_blockhash: str
    block_time: int | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """Every block of the range is known; each other slot was skipped: the parents of later blocks jump over it."""


@dataclass(frozen=True, slots=True)
class NoEnd:
    """No block at the range's last slot or after it is known: what was skipped at its end cannot be told."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """There is a block at `slot`, since the one at `child_slot` names it as its parent, and it is not known."""

    slot: int
    child_slot: int


@dataclass(frozen=True, slots=True)
class Contradiction:
    """These blocks cannot all belong to one chain: some were on a fork, or the node is wrong. `slots` are in doubt."""

    slots: tuple[int, ...]
    reason: str


Verdict: TypeAlias = Proven | NoEnd | Wanted | Contradiction


def examine(first_slot: int, last_slot: int, links: Mapping[int, Link]) -> Verdict:
    """
    Tell whether the known blocks are all that a range (both ends included) had.

    Walks from the lowest known block at or after `last_slot` from parent to parent until one lies before `first_slot`.
    That a node lists no block at a slot, or answers that it was skipped, proves nothing: it may just not have it.

    Args:
        first_slot: The range's first slot.
        last_slot: The range's last slot.
        links: Known blocks by slot, those after the range that end the walk among them.
    """
    slot = min((slot for slot in links if slot >= last_slot), default=None)
    if slot is None:
        return NoEnd()
    on_chain: set[int] = set()
    while True:
        link = links[slot]
        on_chain.add(slot)
        parent = link.parent_slot
        if parent >= slot:
            return Contradiction((slot,), f"the block of slot {slot} names {parent} as its parent")
        if parent < first_slot:
            break
        if parent not in links:
            return Wanted(parent, slot)
        if links[parent].blockhash != link.previous_blockhash:
            return Contradiction((parent, slot), f"the block of slot {slot} has another parent than that of {parent}")
        slot = parent
    jumped = tuple(sorted(slot for slot in links if first_slot <= slot <= last_slot and slot not in on_chain))
    if jumped:
        return Contradiction(jumped, f"the chain jumps over the block of slot {jumped[0]}")
    return Proven()
