"""A mapping over another one: it shows what that one holds, and keeps every change to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")


class Overlay(dict[bytes, V], Generic[V]):
    """
    Holds what was read or written through it; the rest is in `base`, which is never changed.

    Iterating and counting show only what it holds itself.

    Args:
        clone: Copies a value of the base when it is first read, so that its members can be changed too.
    """

    def __init__(self, base: dict[bytes, V], clone: Callable[[V], V]) -> None:
        super().__init__()
        self._base = base
        self._clone = clone
        self._gone: set[bytes] = set()

    def __missing__(self, key: bytes) -> V:
        if key in self._gone:
            raise KeyError(key)
        found = self[key] = self._clone(self._base[key])
        return found

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (key not in self._gone and key in self._base)

    def __setitem__(self, key: bytes, value: V) -> None:
        self._gone.discard(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: bytes) -> None:
        if key not in self:
            raise KeyError(key)
        super().pop(key, None)
        self._gone.add(key)

    def get(self, key: bytes, default: Any = None) -> Any:
        """Return the value of a key, or the default."""
        return self[key] if key in self else default  # noqa: SIM401 - this is `get`

    def pop(self, key: bytes, default: Any = None) -> Any:
        """Take a value out."""
        found = self.get(key, default)
        if key in self:
            del self[key]
        return found

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        """Return the value of a key, which is the default from now on if it had none."""
        if key not in self:
            self[key] = default
        return self[key]
