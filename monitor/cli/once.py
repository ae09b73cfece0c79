"""Tell each event of a capture once: what it holds of a transaction may be several copies, not all of them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from monitor.pipeline.pending import key_of
from monitor.pipeline.told import Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from decoders.core.types import Fact, TxNotice
    from monitor.pipeline.pending import Key

# A notice may be some 10 kB of log lines.
_MOST_HELD = 5_000
_MOST_WHOLE = 20_000
_Id = tuple[str, int]


class Said(NamedTuple):
    """What one copy of a transaction says: facts that are complete, and those that this copy cannot tell completely."""

    complete: list[Fact]
    lacking: list[Fact]


class _Held(NamedTuple):
    notice: TxNotice
    told: frozenset[Key]


class Once:
    """
    Holds back what a copy cannot tell completely, until a whole copy comes, or the pool is known at the end.

    When more waits than can be held, the oldest is told as it is.
    """

    def __init__(self, read: Callable[[TxNotice], Said], most_held: int = _MOST_HELD) -> None:
        self._read = read
        self._most_held = most_held
        self._told = Told()
        self._whole: dict[_Id, None] = {}
        self._held: dict[_Id, dict[str | None, _Held]] = {}

    def take(self, notice: TxNotice) -> list[Fact]:
        """Return what a copy says that was not told yet."""
        identity = (notice.signature, notice.slot)
        if identity in self._whole:
            return []
        said = self._read(notice)
        if notice.invokes is not None:
            self._held.pop(identity, None)
            if not said.lacking:
                self._remember(identity)
        if said.lacking:
            held = _Held(notice, frozenset(key_of(fact) for fact in said.complete))
            self._held.setdefault(identity, {})[notice.program] = held
        found = [fact for fact in said.complete if self._told.is_new(fact)]
        while len(self._held) > self._most_held:
            found += self._release(next(iter(self._held)))
        return found

    def rest(self) -> list[Fact]:
        """Return what no other copy told, as completely as is known by now. Call it at the end."""
        return [fact for identity in list(self._held) for fact in self._release(identity)]

    def _release(self, identity: _Id) -> list[Fact]:
        found: list[Fact] = []
        for held in self._held.pop(identity).values():
            said = self._read(held.notice)
            found += [fact for fact in in_order(*said) if key_of(fact) not in held.told and self._told.is_new(fact)]
        return found

    def _remember(self, identity: _Id) -> None:
        self._whole[identity] = None
        if len(self._whole) > _MOST_WHOLE:
            del self._whole[next(iter(self._whole))]


def in_order(complete: list[Fact], lacking: list[Fact]) -> list[Fact]:
    """Return all facts as they happened."""
    return sorted([*complete, *lacking], key=lambda fact: fact.position) if lacking else complete
