"""Follow slot notifications of one connection: its newest slot, and how far it claims to be complete."""

from __future__ import annotations

from dataclasses import dataclass

FINALITY_SLOTS = 32
"""How far a slot must lie below a node's root for the cluster to have finalized it, and the node to have told it."""


@dataclass(slots=True)
class SlotTracker:
    """
    Newest slot and root that a connection has told; None before its first notification.

    At `confirmed`, a slot's logs come long before it is the root: a feed that was subscribed in time has told all
    through `root`. At `finalized` they may come after it, since the rest of the cluster has to root the slot too. Then
    logs prove it: they come slot by slot, every subscription's before any of the next slot, so that those of one slot
    show that all slots before it were told. In a quiet market, all that lies `lag_slots` below the root is taken as
    told. The claim is never beyond the root. (`lag_slots` None: as at `confirmed`.)

    Notifications may come late or twice: all members only grow. Another connection is another tracker, since a node
    that started anew may count from below.
    """

    lag_slots: int | None = None
    head: int | None = None
    root: int | None = None
    first: int | None = None
    newest_logs: int | None = None

    def see(self, slot: int, root: int) -> None:
        """Take in one notification. `first` is the slot of the first one: what lands there or later will be told."""
        if self.first is None:
            self.first = slot
        self.head = slot if self.head is None else max(self.head, slot)
        self.root = root if self.root is None else max(self.root, root)

    def heard(self, slot: int) -> None:
        """Take note that logs of a slot came."""
        self.newest_logs = slot if self.newest_logs is None else max(self.newest_logs, slot)

    def complete_through(self) -> int | None:
        """Return the last slot that the feed claims to be complete through, from `first` on; None: no claim yet."""
        if self.first is None or self.root is None:
            return None
        claim = self.root
        if self.lag_slots is not None:
            told = -1 if self.newest_logs is None else self.newest_logs - 1
            claim = min(max(told, self.root - self.lag_slots), self.root)
        return claim if claim >= self.first else None
