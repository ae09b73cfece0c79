"""Transactions of which a copy came that could not be told completely, and what they wait for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from decoders.core.types import Fact, TxNotice

Key = tuple[str, str, int, str]
"""Program, event, nth and kind: what tells facts of one transaction apart."""
_Id = tuple[str, str | None]
"""Signature, and program of the subscription that told it."""
_K = TypeVar("_K")


def key_of(fact: Fact) -> Key:
    """Return what tells a fact from the others of its transaction."""
    return fact.program, fact.event, fact.nth, fact.kind


@dataclass(slots=True)
class Waiting:
    """
    One transaction: its copy at hand, pools that would complete it, whether a whole copy is wanted, facts told.

    `time`: the time of its slot is lacking. `seq` is the copy's number in the journal; None: it does not stand there.
    """

    notice: TxNotice
    pools: set[str] = field(default_factory=set)
    whole: bool = False
    told: set[Key] = field(default_factory=set)
    seq: int | None = None
    time: bool = False


class Pending:
    """Waiting transactions by signature; one that several programs' subscriptions told waits once for each."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str | None, Waiting]] = {}
        self._by_pool: dict[str, dict[_Id, None]] = {}
        self._untimed: dict[int, dict[_Id, None]] = {}
        self._seqs: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, signature: str) -> bool:
        return signature in self._waiting

    def get(self, signature: str) -> list[Waiting]:
        """Return what waits of a transaction."""
        return list(self._waiting.get(signature, {}).values())

    def wait(
        self,
        notice: TxNotice,
        pools: Iterable[str],
        *,
        whole: bool,
        told: Iterable[Key],
        time: bool = False,
        seq: int | None = None,
    ) -> Waiting:
        """
        Keep a notice until its pools and its time are known or a whole copy comes.

        It replaces an earlier copy of its kind. The journal keeps what it told under `seq`, or under the number of the
        copy that it replaces.
        """
        replaced = self._drop(notice.signature, notice.program)
        if replaced is not None and replaced.seq is not None:
            seq = replaced.seq if seq is None else min(seq, replaced.seq)
        waiting = Waiting(notice, set(pools), whole, set(told), seq, time)
        if seq is not None:
            self._seqs[seq] += 1
        self._waiting.setdefault(notice.signature, {})[notice.program] = waiting
        for pool in waiting.pools:
            self._by_pool.setdefault(pool, {})[notice.signature, notice.program] = None
        if time:
            self._untimed.setdefault(notice.slot, {})[notice.signature, notice.program] = None
        return waiting

    def done(self, waiting: Waiting) -> None:
        """Forget one notice that waited."""
        self._drop(waiting.notice.signature, waiting.notice.program)

    def close(self, signature: str) -> list[Waiting]:
        """Forget a transaction, and return what waited of it."""
        found = self.get(signature)
        for waiting in found:
            self.done(waiting)
        return found

    def for_pool(self, address: str) -> list[Waiting]:
        """Return what waits for a pool, in the order of slots and of arrival in them."""
        found = [self._waiting[signature][program] for signature, program in self._by_pool.get(address, ())]
        return sorted(found, key=lambda waiting: (waiting.notice.slot, waiting.notice.arrival or 0))

    def for_time(self, slot: int) -> list[Waiting]:
        """Return what waits for the time of a slot, in the order of arrival."""
        found = [self._waiting[signature][program] for signature, program in self._untimed.get(slot, ())]
        return sorted(found, key=lambda waiting: waiting.notice.arrival or 0)

    def all(self) -> list[Waiting]:
        """Return everything that waits."""
        return [waiting for kinds in self._waiting.values() for waiting in kinds.values()]

    def oldest_slot(self) -> int | None:
        """Return the lowest slot in which something waits; None if nothing does."""
        return min((waiting.notice.slot for waiting in self.all()), default=None)

    def oldest_seq(self) -> int | None:
        """Return the lowest number in the journal of what waits; None if nothing there does."""
        return min(self._seqs, default=None)

    def _drop(self, signature: str, program: str | None) -> Waiting | None:
        kinds = self._waiting.get(signature, {})
        waiting = kinds.pop(program, None)
        if not kinds:
            self._waiting.pop(signature, None)
        for pool in waiting.pools if waiting else ():
            _strike(self._by_pool, pool, (signature, program))
        if waiting is not None and waiting.time:
            _strike(self._untimed, waiting.notice.slot, (signature, program))
        if waiting is not None and waiting.seq is not None:
            self._seqs[waiting.seq] -= 1
            if not self._seqs[waiting.seq]:
                del self._seqs[waiting.seq]
        return waiting


def _strike(table: dict[_K, dict[_Id, None]], key: _K, value: _Id) -> None:
    """Remove a value from what stands under a key; a key without any goes."""
    left = table.get(key, {})
    left.pop(value, None)
    if not left:
        table.pop(key, None)
