"""Slots and blocks: some slots are skipped, each block names its parent, and blocks become final with time."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.market import Market
    from simulator.transaction import Transaction

Commitment = Literal["processed", "confirmed", "finalized"]
COMMITMENTS: tuple[Commitment, ...] = ("processed", "confirmed", "finalized")
SLOT_MS = 400
FIRST_SLOT = 454_600_000


@dataclass(slots=True)
class Block:
    """A block; `time` is Unix seconds, `height` counts blocks, not slots."""

    slot: int
    parent: int
    hash: bytes
    parent_hash: bytes
    time: int
    height: int
    transactions: list[Transaction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rules:
    """How the chain runs. Lags are in blocks; what is kept bounds the node's own storage (some 7 KB a transaction)."""

    start_time: int = 1_790_000_000
    first_slot: int = FIRST_SLOT
    skipped_share: float = 0.03
    confirmed_lag: int = 1
    finalized_lag: int = 32
    kept_blocks: int = 5_000
    kept_transactions: int = 80_000


class Chain:
    """The blocks a node knows, and how sure it is of each."""

    def __init__(self, market: Market, seed: int, rules: Rules) -> None:
        self._market = market
        self._rng = Random(seed ^ 0x5EED)
        self._rules = rules
        self._seed = str(seed).encode()
        self._order: list[int] = []
        self._height = 390_000_000
        self.blocks: dict[int, Block] = {}
        self.where: dict[bytes, tuple[int, int]] = {}
        self.slot = rules.first_slot - 1
        self._last = Block(self.slot, self.slot - 1, self._hash(self.slot), self._hash(self.slot - 1), 0, 0)
        self.produced = 0

    def _hash(self, slot: int) -> bytes:
        return sha256(b"%s/block/%d" % (self._seed, slot)).digest()

    def time_of(self, slot: int) -> int:
        """Return the Unix time (s) of a slot."""
        return self._rules.start_time + (slot - self._rules.first_slot) * SLOT_MS // 1000

    def next_slot(self, transactions: int) -> Block | None:
        """Go on by one slot with this many transactions; None if the slot is skipped (they are not made then)."""
        block = self.begin_slot()
        if block is not None:
            for _ in range(transactions):
                self.add_transaction(block)
            self.end_slot(block)
        return block

    def begin_slot(self) -> Block | None:
        """Go on by one slot; return its block, which nobody sees yet, or None if the slot is skipped."""
        self.slot += 1
        if self._order and self._rng.random() < self._rules.skipped_share:
            return None
        last, slot = self._last, self.slot
        self._height += 1
        return Block(slot, last.slot, self._hash(slot), last.hash, self.time_of(slot), self._height)

    def add_transaction(self, block: Block) -> None:
        """Have the market do one thing more in this block."""
        index = len(block.transactions)
        tx = self._market.next(block.slot, index, block.time)
        block.transactions.append(tx)
        self.where[tx.signature] = (block.slot, index)
        self.produced += 1

    def end_slot(self, block: Block) -> None:
        """Put a block on top of the chain."""
        self._last = self.blocks[block.slot] = block
        self._order.append(block.slot)
        self._prune()

    def _prune(self) -> None:
        rules = self._rules
        while len(self._order) > rules.kept_blocks or len(self.where) > rules.kept_transactions:
            for tx in self.blocks.pop(self._order.pop(0)).transactions:
                del self.where[tx.signature]

    @property
    def first_available(self) -> int:
        """Return the oldest slot that the node still has."""
        return self._order[0] if self._order else self.slot

    def tip(self, commitment: Commitment) -> int:
        """Return the newest slot at this commitment."""
        block = self.at_lag(self.lag(commitment))
        return block.slot if block else self._rules.first_slot - 1

    def lag(self, commitment: Commitment) -> int:
        """Return how many blocks behind the newest one this commitment is."""
        rules = self._rules
        return {"processed": 0, "confirmed": rules.confirmed_lag, "finalized": rules.finalized_lag}[commitment]

    def at_lag(self, lag: int) -> Block | None:
        """Return the block that is `lag` blocks behind the newest one; None if there is none yet."""
        return self.blocks[self._order[-1 - lag]] if len(self._order) > lag else None

    def find(self, signature: bytes, commitment: Commitment) -> tuple[Block, Transaction] | None:
        """Return a transaction and its block; None if unknown at this commitment."""
        place = self.where.get(signature)
        if place is None or place[0] > self.tip(commitment):
            return None
        block = self.blocks[place[0]]
        return block, block.transactions[place[1]]

    def slots(self, first: int, last: int) -> list[int]:
        """Return the slots with blocks in this range, both ends included."""
        return [slot for slot in self._order if first <= slot <= last]

    def newest_first(self, commitment: Commitment) -> Iterator[tuple[Block, Transaction]]:
        """Yield transactions from the newest back."""
        tip = self.tip(commitment)
        for slot in reversed(self._order):
            if slot <= tip:
                block = self.blocks[slot]
                yield from ((block, tx) for tx in reversed(block.transactions))
