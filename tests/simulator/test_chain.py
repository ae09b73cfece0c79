"""Blocks name their parents, slots are skipped, and certainty follows at its lag."""

from __future__ import annotations

import itertools

from simulator.chain import SLOT_MS, Chain, Rules
from simulator.market import Market


def make(**rules: float) -> Chain:
    """Return a chain of small blocks."""
    return Chain(Market(1), 1, Rules(**rules))  # type: ignore[arg-type]  # only numbers are given


def test_parents_jump_over_skipped_slots() -> None:
    """Each block names the block before it by slot and hash; heights count blocks, slots without one have none."""
    chain = make(skipped_share=0.3, kept_blocks=1_000)
    made = [chain.next_slot(1) for _ in range(200)]
    blocks = [block for block in made if block]
    assert 20 < made.count(None) < 100
    for parent, block in itertools.pairwise(blocks):
        assert (block.parent, block.parent_hash, block.height) == (parent.slot, parent.hash, parent.height + 1)
        assert block.time >= parent.time
    assert chain.slots(0, chain.slot) == [block.slot for block in blocks]
    assert blocks[-1].time - blocks[0].time == (blocks[-1].slot - blocks[0].slot) * SLOT_MS // 1000


def test_commitments_lag() -> None:
    """A transaction is found once its block is old enough for the commitment asked for."""
    chain = make(skipped_share=0, confirmed_lag=2, finalized_lag=5)
    first = chain.next_slot(1)
    assert first is not None
    signature = first.transactions[0].signature
    seen = []
    for _ in range(6):
        seen.append([chain.find(signature, c) is not None for c in ("processed", "confirmed", "finalized")])
        chain.next_slot(0)
    assert [sum(level[i] for level in seen) for i in range(3)] == [6, 4, 1]


def test_old_blocks_are_pruned() -> None:
    """The node keeps so many blocks and no more, nor their transactions."""
    chain = make(kept_blocks=5)
    while chain.produced < 100:
        chain.next_slot(4)
    assert len(chain.blocks) == 5
    assert len(chain.where) == 20
    assert chain.first_available == min(chain.blocks)
