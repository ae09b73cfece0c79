"""Tell which stored slots are not on the finalized chain (pure)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from monitor.sources.chain import Link

Pair: TypeAlias = tuple[int, str]
"""A slot, and the signature of a transaction that is stored there."""


class Status(NamedTuple):
    """What a node says became of a transaction."""

    slot: int
    is_final: bool
    failed: bool


@dataclass(slots=True)
class Verdict:
    """Slots that are not what the finalized chain holds, and those of which that is not known by this."""

    doubted: set[int] = field(default_factory=set)
    unclear: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Chain:
    """The finalized chain from `first_slot` through `last_slot`: the hashes of its blocks by slot, all of them."""

    first_slot: int
    last_slot: int
    hashes: Mapping[int, str]


class Heard:
    """The blocks that feeds told, by slot and hash: forks are among them. Of more than `most` slots the oldest go."""

    def __init__(self, most: int = 20_000) -> None:
        self._blocks: dict[int, dict[str, Link]] = {}
        self._most = most

    def __len__(self) -> int:
        """Return the number of slots."""
        return len(self._blocks)

    def add(self, slot: int, link: Link) -> None:
        """Take note of a block."""
        self._blocks.setdefault(slot, {})[link.blockhash] = link
        if len(self._blocks) > self._most:
            del self._blocks[min(self._blocks)]

    def forget(self, through: int) -> None:
        """Forget what lies at `through` or before."""
        for slot in [slot for slot in self._blocks if slot <= through]:
            del self._blocks[slot]

    def holds(self, slot: int, blockhash: str) -> bool:
        """Tell whether a block is among those that were told of its slot."""
        return blockhash in self._blocks.get(slot, {})

    def newest(self, through: int, after: int) -> list[int]:
        """Return the slots behind `after` and not behind `through`, newest first."""
        return sorted((slot for slot in self._blocks if after < slot <= through), reverse=True)

    def chain(self, slot: int, blockhash: str) -> Chain | None:
        """Return what is known of the chain that ends in a block, from parent to parent; None: it was not told."""
        link = self._blocks.get(slot, {}).get(blockhash)
        if link is None:
            return None
        hashes = {slot: blockhash}
        first_slot = slot
        while link is not None and link.parent_slot < first_slot:
            first_slot = link.parent_slot
            hashes[first_slot] = link.previous_blockhash
            link = self._blocks.get(first_slot, {}).get(link.previous_blockhash)
        return Chain(first_slot, slot, hashes)

    def compare(self, slots: Iterable[int], chain: Chain) -> Verdict:
        """
        Compare what is stored of these slots with a chain that is final.

        A slot that it jumps over is in doubt, and so is one of which another block was told. Of a slot outside of it,
        and of one whose block nobody told, this tells nothing.
        """
        verdict = Verdict()
        for slot in slots:
            told = self._blocks.get(slot, {}).keys()
            expected = chain.hashes.get(slot)
            if not chain.first_slot <= slot <= chain.last_slot or (expected is not None and not told):
                verdict.unclear.add(slot)
            elif expected is None or told != {expected}:
                verdict.doubted.add(slot)
        return verdict


def by_statuses(pairs: Sequence[Pair], statuses: Sequence[Status | None]) -> Verdict:
    """
    Judge by what became of each transaction.

    One that is final in its slot is confirmed; final in another slot, both are in doubt. That a node does not know one,
    or not as final, may be for other reasons than a fork: the slot's block tells.
    """
    verdict = Verdict()
    for (slot, _), status in zip(pairs, statuses, strict=True):
        if status is None or not status.is_final:
            verdict.unclear.add(slot)
        elif status.slot != slot:
            verdict.doubted |= {slot, status.slot}
        elif status.failed:
            verdict.doubted.add(slot)
    return verdict


def by_block(pairs: Iterable[Pair], slot: int, signatures: AbstractSet[str]) -> Verdict:
    """Judge a slot by the signatures of its finalized block."""
    stored = {signature for at, signature in pairs if at == slot}
    return Verdict() if stored <= signatures else Verdict(doubted={slot})


def by_slot(pairs: Iterable[Pair]) -> dict[int, list[Pair]]:
    """Return the pairs of each slot."""
    found: defaultdict[int, list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair[0]].append(pair)
    return dict(found)
