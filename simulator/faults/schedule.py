"""Faults and when they strike: written down, or drawn from a seed."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal[
    "drop", "duplicate", "delay", "reorder", "truncate_logs", "wrong_envelope",
    "close", "hang", "unsubscribe", "slow", "restart",
    "limit", "http_error", "not_available", "missing_in_list",
    "skip_slots", "fork", "stale", "layout_change", "grow_tail",
]  # fmt: skip
SLOTS_PER_MINUTE = 150


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One fault: what happens, from when on, and how much of it.

    Args:
        kind: What happens (see WAYS).
        slot: When it begins, in slots after its schedule did.
        count: How many notifications, requests, slots or blocks it strikes, as its kind says.
        way: Which of the kind's ways; "" is the first one.
        of: The notifications ("logs", "block", "transaction", "slot", "root"), the method ("getBlock") or the event
            ("pumpfun.TradeEvent") that it strikes; "" for whatever comes first.
        seconds: How long hang, slow, restart, and a timeout of http_error last.
        distance: By how many notifications a delayed one comes later, by how many slots a stale node goes back.
    """

    kind: Kind
    slot: int = 0
    count: int = 1
    way: str = ""
    of: str = ""
    seconds: float = 2.0
    distance: int = 3

    def __post_init__(self) -> None:
        if self.kind not in WAYS:
            raise ValueError(f"there is no fault {self.kind!r}; there are {', '.join(WAYS)}")
        if self.way not in ("", *WAYS[self.kind]):
            raise ValueError(f"{self.kind} has no way {self.way!r}; it has {', '.join(WAYS[self.kind]) or 'none'}")

    @property
    def chosen(self) -> str:
        """Return the way that it takes."""
        return self.way or WAYS[self.kind][0]


# By kind its ways, with what each does. `count` is of: notifications (the first six), connections, subscriptions or
# nothing, requests, then slots, blocks told that vanish, slots, and events changed for good.
#
# What a client of a feed can notice by itself: of blocks everything, since each names its parent. Of logs and
# transactions the loss of single notifications (drop, unsubscribe, wrong_envelope's null_block aside) shows nowhere
# but in an audit; a hang, a close or a restart shows, and so does a log that was truncated, in the notification.
WAYS: dict[Kind, tuple[str, ...]] = {
    "drop": ("lost",),
    "duplicate": ("twice",),
    "delay": ("later",),
    "reorder": ("swapped",),
    "truncate_logs": ("cut",),
    "wrong_envelope": ("garbage", "other_id", "other_shape", "null_block"),
    "close": ("1000", "1006", "1011", "1013"),
    "hang": ("half_open",),
    "unsubscribe": ("forgotten",),
    "slow": ("throttled",),
    "restart": ("ports_closed",),
    "limit": ("retry_after", "bare", "code_32005", "code_32429"),
    "http_error": ("500", "502", "empty", "cut", "timeout"),
    "not_available": ("-32004", "-32007", "-32009", "-32014"),
    "missing_in_list": ("omitted",),
    "skip_slots": ("skipped",),
    "fork": ("skipped", "replaced"),
    "stale": ("behind", "back"),
    "layout_change": ("discriminator", "layout"),
    "grow_tail": ("appended",),
}
SILENT_IN_LOGS: frozenset[Kind] = frozenset({"drop", "unsubscribe"})
# How many at once when drawn: the most, by kind; 1 for the others.
_MOST: dict[Kind, int] = {
    "drop": 20, "duplicate": 20, "delay": 10, "reorder": 10, "truncate_logs": 5, "wrong_envelope": 3, "limit": 10,
    "http_error": 5, "not_available": 5, "missing_in_list": 3, "skip_slots": 12, "fork": 3, "stale": 10,
}  # fmt: skip
_LONGEST_S = 4.0
_ONCE: frozenset[Kind] = frozenset({"layout_change", "grow_tail"})  # what was changed stays changed
_CHANGEABLE = ("pumpfun.TradeEvent", "pumpswap.BuyEvent", "pumpswap.SellEvent")


class Schedule:
    """Faults in the order of their slots."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._due = [(fault.slot, number, fault) for number, fault in enumerate(faults)]
        heapq.heapify(self._due)
        self._rng: Random | None = None
        self._gaps: Mapping[Kind, float] = {}

    @classmethod
    def drawn(cls, seed: int, per_minute: Mapping[Kind, float], slots: int | None = None) -> Self:
        """
        Return a schedule of faults at random times; a seed gives the same one again.

        Args:
            per_minute: By kind how often it begins, in 150 slots; what changes a layout happens once per kind.
            slots: The last slot at which something begins; None for no end.
        """
        schedule = cls()
        schedule._rng = rng = Random(seed)
        schedule._gaps = {kind: SLOTS_PER_MINUTE / rate for kind, rate in per_minute.items() if rate > 0}
        for number, kind in enumerate(sorted(schedule._gaps)):
            fault = schedule._draw(kind, 0, rng)
            heapq.heappush(schedule._due, (fault.slot, number, fault))
        if slots is None:
            return schedule
        found = schedule.due(slots)
        return cls(found)

    def due(self, slot: int) -> list[Fault]:
        """Return what begins by this slot (counted from the schedule's beginning) and was not returned yet."""
        found: list[Fault] = []
        while self._due and self._due[0][0] <= slot:
            _, number, fault = heapq.heappop(self._due)
            found.append(fault)
            if self._rng is not None and fault.kind not in _ONCE:
                following = self._draw(fault.kind, fault.slot + 1, self._rng)
                heapq.heappush(self._due, (following.slot, number, following))
        return found

    def _draw(self, kind: Kind, after_slot: int, rng: Random) -> Fault:
        slot = after_slot + int(rng.expovariate(1 / self._gaps[kind]))
        fault = Fault(kind, slot, count=rng.randint(1, _MOST.get(kind, 1)), way=rng.choice(WAYS[kind]))
        fault = replace(fault, seconds=round(rng.uniform(0.2, _LONGEST_S), 1), distance=rng.randint(1, 8))
        return replace(fault, of=rng.choice(_CHANGEABLE)) if kind in _ONCE else fault
