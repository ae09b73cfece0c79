"""Which facts were shown to people of late: a transaction that was fetched says again what its log lines said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.pipeline.pending import key_of

if TYPE_CHECKING:
    from decoders.core.types import Fact

# Some 400 bytes each.
_REMEMBERED = 20_000


class Told:
    """Remembers the newest facts; when full, the oldest is forgotten."""

    def __init__(self, size: int = _REMEMBERED) -> None:
        self._seen: dict[tuple[object, ...], None] = {}
        self._size = size

    def is_new(self, fact: Fact) -> bool:
        """Tell whether this fact was not asked for before, and remember it. In another slot it is another landing."""
        identity = (fact.signature, fact.slot, *key_of(fact))
        if identity in self._seen:
            return False
        self._seen[identity] = None
        if len(self._seen) > self._size:
            del self._seen[next(iter(self._seen))]
        return True
