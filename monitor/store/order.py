"""
The one number that puts facts into the order of the chain.

A `chain_order` packs, from the highest bit: slot (31), whether the place in the block is known (1), place in the block
or else arrival number (17), position of the emitting instruction (10), and nth (4, as one instruction may emit twice).
A copy of known place sorts after all of unknown place in its slot, so the greatest of all copies ever seen does not
depend on the order in which they came.
"""

from __future__ import annotations

EXACT = 1 << 31
SLOT_LIMIT = 1 << 31
_INDEX_MAX = (1 << 17) - 1
_POSITION_MAX = (1 << 10) - 1
_NTH_MAX = (1 << 4) - 1
_RESTARTED = 1 << 16
"""First arrival number in slots that an earlier life of the daemon may have numbered."""


def exact_order(slot: int, index: int, position: int, nth: int) -> int:
    """Return the order of a fact whose place in the block (`index`) is known."""
    if index > _INDEX_MAX or position > _POSITION_MAX or nth > _NTH_MAX:
        index, position, nth = min(index, _INDEX_MAX), min(position, _POSITION_MAX), min(nth, _NTH_MAX)
    return slot << 32 | EXACT | index << 14 | position << 4 | nth


def arrival_order(slot: int, number: int, position: int, nth: int) -> int:
    """Return the order of a fact known by arrival alone; `number` is from `Arrivals`."""
    if number > _INDEX_MAX or position > _POSITION_MAX or nth > _NTH_MAX:
        number, position, nth = min(number, _INDEX_MAX), min(position, _POSITION_MAX), min(nth, _NTH_MAX)
    return slot << 32 | number << 14 | position << 4 | nth


def first_order(slot: int, rank: int) -> int:
    """Return an order before all others of the slot, for what a pool starts with (the greater `rank` counts)."""
    return slot << 32 | rank


def is_exact(order: int) -> bool:
    """Tell whether the place in the block is known."""
    return bool(order & EXACT)


def slot_of(order: int) -> int:
    """Return the slot."""
    return order >> 32


def index_of(order: int) -> int | None:
    """Return the place in the block, or None where it is not known."""
    return order >> 14 & _INDEX_MAX if order & EXACT else None


def position_of(order: int) -> int:
    """Return the position of the emitting instruction."""
    return order >> 4 & _POSITION_MAX


def supersedes(new: int, old: int | None) -> bool:
    """
    Tell whether a copy at `new` says where a fact stands, rather than the stored one at `old` (None: nothing stored).

    A later slot does (it landed again after a fork), and a known place does; one arrival number is as good as another.
    """
    if old is None or slot_of(new) > slot_of(old):
        return True
    return is_exact(new) and new > old


class Arrivals:
    """
    Numbers transactions of unknown place by arrival, per slot and pool from 1; a transaction keeps its number.

    Args:
        stored_slot: The newest slot with committed rows; what arrives for it now comes after those.
        keep_slots: How many slots are remembered.
    """

    def __init__(self, stored_slot: int = -1, keep_slots: int = 512) -> None:
        self._stored_slot = stored_slot
        self._keep_slots = keep_slots
        self._slots: dict[int, dict[str | tuple[str, str], int]] = {}

    def number(self, slot: int, pool: str, signature: str, arrival: int | None = None) -> int:
        """
        Return the arrival number of a transaction on a pool: `arrival` where the source counted in its slot.

        It is the same in each replay. (A slot in which a daemon was started again is a hole, and filled in order.)
        """
        if arrival is not None:
            return arrival
        numbers = self._slots.get(slot)
        if numbers is None:
            numbers = self._open(slot)
        number = numbers.get((pool, signature))
        if number is None:
            number = numbers.get(pool, _RESTARTED if slot <= self._stored_slot else 0) + 1
            numbers[pool] = numbers[pool, signature] = number
        return number

    def _open(self, slot: int) -> dict[str | tuple[str, str], int]:
        if len(self._slots) >= self._keep_slots:
            del self._slots[next(iter(self._slots))]
        return self._slots.setdefault(slot, {})
