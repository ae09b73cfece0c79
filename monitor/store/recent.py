"""A bounded memory of what was lately committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """
    A mapping that forgets its oldest half when full, without bookkeeping per item.

    Args:
        limit: How many items are remembered at most (at least half as many are).
    """

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return the value, or None if it was never set or is forgotten."""
        value = self._young.get(key)
        return value if value is not None else self._old.get(key)

    def set(self, key: K, value: V) -> None:
        """Remember a value."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def update(self, items: Mapping[K, V]) -> None:
        """Remember many values; they may be more than half of the limit for once."""
        if len(self._young) + len(items) > self._half:
            self._old, self._young = self._young, {}
        self._young.update(items)

    def drop(self, key: K) -> None:
        """Forget one item."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._young.clear()
        self._old.clear()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
