"""Transactions of which a copy came that could not be told completely, and what they wait for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from decoders.core.types import Fact, TxNotice

Key = tuple[str, str, int, str]
"""Program, event, nth and kind: what tells facts of one transaction apart."""


def key_of(fact: Fact) -> Key:
    """Return what tells a fact from the others of its transaction."""
    return fact.program, fact.event, fact.nth, fact.kind


@dataclass(slots=True)
class Waiting:
    """One transaction: its copy at hand, pools that would complete it, whether a whole copy is wanted, facts told."""

    notice: TxNotice
    pools: set[str] = field(default_factory=set)
    whole: bool = False
    told: set[Key] = field(default_factory=set)


class Pending:
    """Waiting transactions by signature."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._by_pool: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def get(self, signature: str) -> Waiting | None:
        """Return a waiting transaction, or None."""
        return self._waiting.get(signature)

    def wait(self, notice: TxNotice, pools: Iterable[str], *, whole: bool, told: Iterable[Key]) -> None:
        """Keep a transaction until its pools are known or a whole copy comes."""
        self.close(notice.signature)
        waiting = Waiting(notice, set(pools), whole, set(told))
        self._waiting[notice.signature] = waiting
        for pool in waiting.pools:
            self._by_pool.setdefault(pool, set()).add(notice.signature)

    def close(self, signature: str) -> Waiting | None:
        """Forget a transaction, and return it if it was waiting."""
        waiting = self._waiting.pop(signature, None)
        for pool in waiting.pools if waiting else ():
            left = self._by_pool.get(pool)
            if left is not None:
                left.discard(signature)
                if not left:
                    del self._by_pool[pool]
        return waiting

    def for_pool(self, address: str) -> list[Waiting]:
        """Return the transactions that wait for a pool, in the order of their slots."""
        found = [self._waiting[signature] for signature in self._by_pool.get(address, ())]
        return sorted(found, key=lambda waiting: waiting.notice.slot)

    def all(self) -> list[Waiting]:
        """Return every waiting transaction."""
        return list(self._waiting.values())

    def oldest_slot(self) -> int | None:
        """Return the lowest slot in which something waits; None if nothing does."""
        return min((waiting.notice.slot for waiting in self._waiting.values()), default=None)
