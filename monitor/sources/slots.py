"""Follow slot notifications of one connection: its newest slot, and how far it claims to be complete."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class SlotTracker:
    """
    Newest slot and root that a connection has told; None before its first notification.

    A root is final and comes long after its slot's transactions at any commitment that we ask for, so a feed that was
    subscribed in time has told everything through `root`. Notifications may come late or twice: both members only grow.
    Another connection is another tracker, since a node that started anew may count from below.
    """

    head: int | None = None
    root: int | None = None
    first: int | None = None

    def see(self, slot: int, root: int) -> None:
        """Take in one notification. `first` is the slot of the first one: what lands there or later will be told."""
        if self.first is None:
            self.first = slot
        self.head = slot if self.head is None else max(self.head, slot)
        self.root = root if self.root is None else max(self.root, root)

    def complete_through(self) -> int | None:
        """Return the last slot that the feed claims to be complete through, from `first` on; None: no claim yet."""
        if self.first is None or self.root is None or self.root < self.first:
            return None
        return self.root
