"""Slots and blocks: some slots are skipped, each block names its parent, and blocks become final with time."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Literal

from simulator.fork import Fork, leave
from simulator.ghost import ghost_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.fork import Vanished, Way
    from simulator.market import Market, Meant
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
    """
    The blocks a node knows, and how sure it is of each.

    `market` is where transactions come from now: on a fork, one beside the real market. `behind` counts the newest
    blocks that the node has not heard of yet. `vanished` are the forks that were told and left.
    """

    def __init__(self, market: Market, seed: int, rules: Rules) -> None:
        self.market = market
        self._rng = Random(seed ^ 0x5EED)
        self._rules = rules
        self._seed = str(seed).encode()
        self._order: list[int] = []
        self._height = 390_000_000
        self.blocks: dict[int, Block] = {}
        self.where: dict[bytes, tuple[int, int]] = {}
        self.slot = rules.first_slot - 1
        self._last = Block(self.slot, self.slot - 1, self._hash(self.slot), self._hash(self.slot - 1), 0, 0)
        self._final_slot = self.slot
        self._told: dict[Commitment, int] = dict.fromkeys(COMMITMENTS, self.slot)
        self._real = market
        self._fork: Fork | None = None
        self._landing: list[tuple[int, Meant]] = []
        self._to_skip = 0
        self.produced = 0
        self.behind = 0
        self.vanished: list[Vanished] = []

    def _hash(self, slot: int) -> bytes:
        fork = b"/fork/%d" % self.market.branch if self.market.branch else b""
        return sha256(b"%s/block/%d%b" % (self._seed, slot, fork)).digest()

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
        if self._fork is not None and self._fork.is_told:
            self._leave(self._fork)
        self.slot += 1
        if self._order and self._skips():
            return None
        last, slot = self._last, self.slot
        self._height += 1
        block = Block(slot, last.slot, self._hash(slot), last.hash, self.time_of(slot), self._height)
        self._land(block)
        return block

    def _skips(self) -> bool:
        by_chance = self._rng.random() < self._rules.skipped_share
        if self._to_skip:
            self._to_skip -= 1
            return True
        return by_chance and self._fork is None

    def skip(self, slots: int) -> None:
        """Have the next slots go without a block."""
        self._to_skip += slots

    def fork(self, depth: int, way: Way) -> bool:
        """
        Have the next `depth` blocks be told at confirmed and vanish then; return whether that can begin now.

        It cannot while a fork is told or not all of one has landed again, without a block to start from, or while
        the node is behind. A fork is never so long that one of its blocks would be final.
        """
        if self.is_unsettled or not self._order or self.behind or self._to_skip:
            return False
        length = min(depth + self._rules.confirmed_lag, self._rules.finalized_lag - 1)
        self.market = ghost_of(self._real, len(self.vanished) + 1)
        self._fork = Fork(self._last, max(length, 1), way, self.market)
        return True

    @property
    def is_unsettled(self) -> bool:
        """Whether a fork is being told, or transactions of one are yet to land again."""
        return self._fork is not None or bool(self._landing)

    @property
    def is_forked(self) -> bool:
        """Whether a fork is being told."""
        return self._fork is not None

    def _leave(self, fork: Fork) -> None:
        """Go back to the real chain: nothing that the node answers from now on knows of the fork."""
        parent = fork.parent
        for block in fork.blocks:
            del self.blocks[block.slot]
            for tx in block.transactions:
                del self.where[tx.signature]
        del self._order[len(self._order) - len(fork.blocks) :]
        self._told = {commitment: min(slot, parent.slot) for commitment, slot in self._told.items()}
        self._last, self._height, self._fork, self.market = parent, parent.height, None, self._real
        self._real.world.keys.skip_to(fork.market.world.keys.drawn)
        vanished, self._landing = leave(fork, self._rng)
        self.vanished.append(vanished)
        if fork.way == "replaced":
            self.slot = parent.slot

    def _land(self, block: Block) -> None:
        """Have what vanished land again, as far as it is due."""
        while self._fork is None and self._landing and self._landing[0][0] <= block.slot:
            _, meant = self._landing.pop(0)
            made = self.market.again(meant, block.slot, len(block.transactions), block.time)
            if made is not None:
                self._put(block, made)

    def add_transaction(self, block: Block) -> None:
        """Have the market do one thing more in this block."""
        index = len(block.transactions)
        self._put(block, self.market.next(block.slot, index, block.time))

    def _put(self, block: Block, tx: Transaction) -> None:
        self.where[tx.signature] = (block.slot, len(block.transactions))
        block.transactions.append(tx)
        self.produced += not self.market.branch

    def end_slot(self, block: Block) -> None:
        """Put a block on top of the chain."""
        self._last = self.blocks[block.slot] = block
        self._order.append(block.slot)
        if self._fork is not None:
            self._fork.blocks.append(block)
        self._prune()

    def fresh(self, commitment: Commitment) -> list[Block]:
        """Return the blocks that reached this commitment since it was last asked."""
        tip = self.tip(commitment)
        slots = self._order[bisect_right(self._order, self._told[commitment]) :]
        found = [self.blocks[slot] for slot in slots if slot <= tip]
        if found:
            self._told[commitment] = found[-1].slot
        return found

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
        """Return the newest slot at this commitment. What was final stays it, however a fork ends."""
        block = self.at_lag(self.lag(commitment))
        slot = block.slot if block else self._rules.first_slot - 1
        if commitment != "finalized":
            return slot
        self._final_slot = max(self._final_slot, slot)
        return self._final_slot

    def lag(self, commitment: Commitment) -> int:
        """Return how many blocks behind the newest one this commitment is."""
        rules = self._rules
        return {"processed": 0, "confirmed": rules.confirmed_lag, "finalized": rules.finalized_lag}[commitment]

    def at_lag(self, lag: int) -> Block | None:
        """Return the block that is `lag` blocks behind the newest one the node knows; None if there is none yet."""
        lag += self.behind
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
