"""A fork that the chain tells and then leaves: blocks that vanish, and transactions that land again elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from random import Random

    from simulator.chain import Block
    from simulator.market import Market, Meant

Way = Literal["skipped", "replaced"]
_LANDING_SHARE = 0.7
_EARLIEST, _LATEST = 3, 8  # slots after the fork's end: a later second of block time than any of the fork's


@dataclass(slots=True)
class Fork:
    """
    A fork while it is told. `parent` is the last block that stays; `length` counts the blocks on top of it.

    `way`: whether the slots are skipped in the end, or hold other blocks.
    """

    parent: Block
    length: int
    way: Way
    market: Market
    blocks: list[Block] = field(default_factory=list)

    @property
    def is_told(self) -> bool:
        """Whether it has all its blocks."""
        return len(self.blocks) >= self.length


@dataclass(frozen=True, slots=True)
class Vanished:
    """
    A fork that was left: its blocks by slot and hash, its transactions, and those that are to land again.

    A trade lands only if its token was launched on the real chain as well, and can still be traded.
    """

    slots: tuple[int, ...]
    hashes: tuple[bytes, ...]
    signatures: frozenset[bytes]
    landing: frozenset[bytes]


def leave(fork: Fork, rng: Random) -> tuple[Vanished, list[tuple[int, Meant]]]:
    """Return what vanishes, and what is to land again from which slot on, in the order of the fork."""
    last_slot = fork.blocks[-1].slot
    again = sorted(
        ((last_slot + rng.randint(_EARLIEST, _LATEST), meant) for meant in fork.market.meant
         if rng.random() < _LANDING_SHARE),
        key=lambda item: (item[0], item[1].number),
    )  # fmt: skip
    keys = fork.market.world.keys
    return Vanished(
        tuple(block.slot for block in fork.blocks),
        tuple(block.hash for block in fork.blocks),
        frozenset(tx.signature for block in fork.blocks for tx in block.transactions),
        frozenset(keys.signature(meant.number) for _, meant in again),
    ), again
