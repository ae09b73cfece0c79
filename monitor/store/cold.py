"""What is to be kept of a batch's facts that are no trades, beside what is kept already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.store.changes import Change, change_key, merge, said

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from monitor.store.changes import ChangeKey
    from monitor.store.fold import ColdFact, World


@dataclass(frozen=True, slots=True)
class Copy:
    """A fact of a batch, with its time and order."""

    fact: ColdFact
    at: datetime
    order: int

    @property
    def key(self) -> ChangeKey:
        """What makes it this fact."""
        return change_key(self.fact, self.at)


@dataclass(slots=True)
class Kept:
    """
    Changes to be written.

    `landed` among them did not stand in their slot yet. `moved` are those that stood in another one, as stored.
    `confirmed` are those stored that the finalized chain says again: what was made of them may be something else.
    """

    changes: list[Change] = field(default_factory=list)
    landed: list[Change] = field(default_factory=list)
    moved: list[Change] = field(default_factory=list)
    confirmed: list[Change] = field(default_factory=list)


def stale(copies: Mapping[int, Copy], stored: Mapping[ChangeKey, Change]) -> set[int]:
    """Return the places of copies of an earlier slot than another copy: they landed in the later one after a fork."""
    latest = {key: change.slot for key, change in stored.items() if not change.is_void}
    for copy in copies.values():
        latest[copy.key] = max(latest.get(copy.key, copy.fact.slot), copy.fact.slot)
    return {at for at, copy in copies.items() if copy.fact.slot < latest[copy.key] and not copy.fact.final}


def keep(copies: Mapping[int, Copy], stored: Mapping[ChangeKey, Change], world: World) -> Kept:
    """Merge the copies (none of them stale) with what is stored; the world tells the ids."""
    found = Kept()
    merged: dict[ChangeKey, Change] = {}
    for copy in copies.values():
        known = merged.get(copy.key) or stored.get(copy.key)
        change = _change(copy, world)
        merged[copy.key] = merge(known, change, is_final=copy.fact.final) or known or change
        if copy.fact.final and (confirmed := stored.get(copy.key)) is not None:
            found.confirmed.append(confirmed)
    for key, change in merged.items():
        old = stored.get(key)
        if change == old:
            continue
        found.changes.append(change)
        if old is None or old.is_void or old.slot != change.slot:
            found.landed.append(change)
        if old is not None and not old.is_void and old.slot != change.slot:
            found.moved.append(old)
    return found


def _change(copy: Copy, world: World) -> Change:
    fact = copy.fact
    token_id = None if fact.mint is None else world.mints[fact.mint].id
    pool_id = None if fact.pool is None else world.pools[fact.pool].id
    return Change(copy.key, fact.slot, copy.order, token_id, pool_id, said(fact))
