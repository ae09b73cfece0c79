"""The time of each slot of late, so that all copies of its transactions agree on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from decoders.core.types import TxNotice

# Some 150 bytes each; at 400 ms a slot these are 55 minutes.
MOST_SLOTS = 8_192


class SlotTimes:
    """Remembers times (Unix seconds) by slot. When full, the slot learned first is forgotten."""

    def __init__(self, most: int = MOST_SLOTS) -> None:
        self._times: dict[int, int] = {}
        self._most = most

    def __len__(self) -> int:
        """Return how many slots have a time."""
        return len(self._times)

    def learn(self, slot: int, block_time: int) -> bool:
        """Take note of a slot's time; tell whether that is news. What is told last holds: a fork may have lost."""
        known = self._times.get(slot)
        if known == block_time:
            return False
        if known is None and len(self._times) >= self._most:
            del self._times[next(iter(self._times))]
        self._times[slot] = block_time
        return True

    def dated(self, notice: TxNotice) -> TxNotice:
        """Return a notice with its slot's time, where it brings none itself and that is known."""
        if notice.block_time is not None:
            return notice
        block_time = self._times.get(notice.slot)
        return notice if block_time is None else msgspec.structs.replace(notice, block_time=block_time)
