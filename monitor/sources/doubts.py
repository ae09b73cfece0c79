"""Tell which slots a frame that could not be read may have been about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.sources.slots import SlotTracker


@dataclass(slots=True)
class Doubts:
    """
    Slots in doubt of one connection.

    A feed tells nothing of the slots that it claims to be complete through, and nothing of slots that have not begun: a
    frame was about those after the claim, up to the next slot that begins. Slots that were in doubt once are fetched
    whole, so they are not doubted twice: garbage without end costs each slot one fetch.

    Before the first slot of a connection nothing need be doubted: what lies there is missed in any case.
    """

    first_slot: int | None = None
    through: int = -1

    def frame(self, slots: SlotTracker) -> None:
        """Take note of a frame that could not be read."""
        if slots.first is None or self.first_slot is not None:
            return
        claim = slots.complete_through()
        unclaimed = slots.first if claim is None else claim + 1
        self.first_slot = max(unclaimed, self.through + 1)

    def close(self, slots: SlotTracker) -> tuple[int, int] | None:
        """Return first and last slot in doubt, now that another slot began; None if there are none."""
        first_slot, self.first_slot = self.first_slot, None
        if first_slot is None or slots.head is None or slots.head < first_slot:
            return None
        self.through = slots.head
        return first_slot, slots.head
