"""What happens in a run of chaos, and when: drawn from a seed, the same again each time. Without any I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Literal, cast, get_args

from simulator.faults.schedule import SILENT_IN_LOGS, WAYS, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.faults.schedule import Fault

Outside = Literal[
    "node_reset", "redis_cut", "database_cut", "database_stall", "database_throttle", "database_restart",
    "database_read_only", "database_full", "database_terminate",
]  # fmt: skip
OUTSIDE: tuple[str, ...] = get_args(Outside)
KINDS = (*WAYS, *OUTSIDE)
FEEDS: tuple[tuple[str, ...], ...] = (
    ("logs",), ("blocks",), ("transactions",), ("polled_blocks",), ("logs", "blocks"),
)  # fmt: skip
SLOTS = 22
RATE_PER_S = 300
_STRIKES_PER_RUN = 6
_OUTAGES_PER_RUN = 2
_SLOTS_PER_MINUTE = 150
_LONG = 1_000  # slots in which a fault that begins every slot has begun often enough
_LAST_SLOTS = 4  # in which nothing begins any more, so that what began can strike
_LONGEST_OUTAGE_S = 3.0
_MOST_KILLS = 3
_LAST_KILL_S = 2.0
_AGAIN, _START_S = 0.25, 2.0
_IN_COMBINATION = (3, 6)
# A node that is polled has no websocket that these faults could strike.
_OF_SUBSCRIPTIONS = frozenset({
    "drop", "duplicate", "delay", "reorder", "truncate_logs", "wrong_envelope", "close", "hang", "unsubscribe", "slow",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outage:
    """Something outside of the node that breaks at a slot (counted from the first with transactions)."""

    kind: Outside
    slot: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill -9 within a slot, so many seconds after it began; `again_s`: and another, while it starts (None: not)."""

    slot: int
    after_s: float
    again_s: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """
    One run. `faults` and `outages` begin by slot, `kills` too; `last_kill_s` counts from the end of all faults.

    `is_silent`: something may be lost that these feeds cannot notice, so that an audit has to find it.
    """

    seed: int
    kinds: tuple[str, ...]
    feeds: tuple[str, ...]
    faults: tuple[Fault, ...]
    outages: tuple[Outage, ...]
    kills: tuple[Kill, ...]
    last_kill_s: float

    @property
    def name(self) -> str:
        """Return what draws it again."""
        return f"{self.seed}:{'+'.join(self.kinds)}:{'+'.join(self.feeds)}"

    @property
    def is_silent(self) -> bool:
        """Tell whether an audit is needed."""
        return bool(SILENT_IN_LOGS & set(self.kinds)) and "blocks" not in self.feeds

    @property
    def changes_layouts(self) -> bool:
        """Tell whether events are to be decoded again by new IDLs."""
        return "layout_change" in self.kinds


def drawn(seed: int, kinds: tuple[str, ...], feeds: tuple[str, ...]) -> Plan:
    """Return the run of a seed."""
    rng = Random(f"{seed}/{'+'.join(kinds)}/{'+'.join(feeds)}")
    return Plan(
        seed, kinds, feeds,
        faults=tuple(_faults(kinds, rng)),
        outages=tuple(_outages(kinds, rng)),
        kills=tuple(_kills(rng)),
        last_kill_s=round(rng.uniform(0, _LAST_KILL_S), 2),
    )  # fmt: skip


def _faults(kinds: tuple[str, ...], rng: Random) -> Iterator[Fault]:
    for kind in WAYS:
        if kind in kinds:
            schedule = Schedule.drawn(rng.randrange(1 << 32), {kind: _SLOTS_PER_MINUTE})
            for fault in schedule.due(_LONG)[:_STRIKES_PER_RUN]:
                yield replace(fault, slot=rng.randrange(1, SLOTS - _LAST_SLOTS))


def _outages(kinds: tuple[str, ...], rng: Random) -> Iterator[Outage]:
    for kind in kinds:
        if kind in OUTSIDE:
            for _ in range(_OUTAGES_PER_RUN):
                seconds = round(rng.uniform(0.2, _LONGEST_OUTAGE_S), 1)
                yield Outage(cast("Outside", kind), rng.randrange(SLOTS), seconds)


def _kills(rng: Random) -> list[Kill]:
    slots = sorted(rng.randrange(1, SLOTS) for _ in range(rng.randint(2, _MOST_KILLS)))
    return [
        Kill(
            slot, round(rng.uniform(0, 0.4), 3), round(rng.uniform(0.1, _START_S), 2) if rng.random() < _AGAIN else None
        )
        for slot in slots
    ]


def read(name: str) -> Plan:
    """Return the run that a name draws."""
    seed, kinds, feeds = name.split(":")
    unknown = set(kinds.split("+")) - set(KINDS)
    if unknown:
        raise ValueError(f"there is no fault {', '.join(sorted(unknown))}")
    return drawn(int(seed), tuple(kinds.split("+")), tuple(feeds.split("+")))


def strikes(kind: str, feeds: tuple[str, ...]) -> bool:
    """Tell whether a fault can strike feeds of these kinds."""
    return feeds != ("polled_blocks",) or kind not in _OF_SUBSCRIPTIONS


def alone(first_seed: int, times: int) -> Iterator[Plan]:
    """Yield runs of one kind of fault each, for each feed that it can strike, so many times."""
    for number in range(times):
        for kind in KINDS:
            for feeds in FEEDS:
                if strikes(kind, feeds):
                    yield drawn(first_seed + number, (kind,), feeds)


def turns(first_seed: int) -> Iterator[Plan]:
    """Yield one run of each kind of fault, feeds taking turns."""
    for number, kind in enumerate(KINDS):
        turn = [FEEDS[(number + step) % len(FEEDS)] for step in range(len(FEEDS))]
        yield drawn(first_seed + number, (kind,), next(feeds for feeds in turn if strikes(kind, feeds)))


def together(first_seed: int, count: int) -> Iterator[Plan]:
    """Yield runs of several kinds at once."""
    for seed in range(first_seed, first_seed + count):
        rng = Random(f"together/{seed}")
        feeds = FEEDS[seed % len(FEEDS)]
        kinds = rng.sample([kind for kind in KINDS if strikes(kind, feeds)], rng.randint(*_IN_COMBINATION))
        yield drawn(seed, tuple(sorted(kinds)), feeds)
