"""Whether the pipeline moves, and whether what it does is current: one judgement for the watchdog and for operators."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from monitor.health.commits import Commits
from monitor.metrics import Check

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.store.batch import Batch, Written

PATIENCE_S = 60.0
"""A part that has work and finishes none of it for so long hangs."""
RETRY_PATIENCE_S = 300.0
"""Longer than any single try may take: a retry that says nothing for so long hangs as well."""
COMMIT_LIMIT_S = 30.0
PROGRESS_LIMIT_S = 120.0
LAG_LIMIT_S = 60.0


class Flow(Protocol):
    """What health reads of the ledger."""

    head_slot: int
    newest_slot: int
    newest_time: int

    @property
    def told_count(self) -> int:
        """Facts that decode put out."""

    @property
    def in_flight(self) -> int:
        """Facts that are not settled yet."""

    @property
    def stored(self) -> int:
        """Facts that are new in the database."""


class Notifier(Protocol):
    """The service manager (`monitor.sdnotify`), or nobody."""

    def ready(self) -> None:
        """Tell that the daemon serves."""

    def alive(self) -> None:
        """Feed the watchdog."""

    def status(self, text: str) -> None:
        """Tell in one line how things are."""


def _now() -> float:
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Work:
    """
    A part that must move: how much it has `done` since the start, and how much `waits` for it.

    One `behind_database` may stand still while a commit is tried again, since it waits for that.
    """

    name: str
    done: Callable[[], int]
    waits: Callable[[], int]
    behind_database: bool = True


@dataclass(slots=True)
class _Seen:
    """How far a part was at the last look, and when it last moved or had nothing to do."""

    done: int
    moved_at: float


@dataclass(slots=True)
class Health:
    """
    Whether the pipeline moves.

    It is alive while facts get settled, while there are none to settle, and while something is being retried and says
    why. Work that does not move, and nobody who knows the reason, are a daemon that hangs.
    """

    ledger: Flow
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)
    commits: Commits = field(default_factory=Commits)
    lag_limit_s: float = LAG_LIMIT_S
    _works: list[Work] = field(default_factory=list)
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _asked: dict[str, Callable[[], str | None]] = field(default_factory=dict)
    _retry_told_at: float | None = None
    _committed_at: float = field(default_factory=_now)
    _progress_at: float = field(default_factory=_now)

    def __post_init__(self) -> None:
        """Watch the facts in flight from the start."""
        self.watch(Work("write", lambda: self.ledger.told_count - self.ledger.in_flight, lambda: self.ledger.in_flight))

    @property
    def retrying(self) -> str | None:
        """Return why a commit is tried again; None: none is."""
        return self.commits.retrying

    def watch(self, work: Work) -> None:
        """Judge the daemon by this part as well."""
        self._works.append(work)
        self._seen[work.name] = _Seen(work.done(), _now())

    def ask(self, name: str, question: Callable[[], str | None]) -> None:
        """Add a check of /readyz: `question` returns what is wrong, None if nothing is."""
        self._asked[name] = question

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """Take note of a commit."""
        self._committed_at = _now()
        if self.commits.committed(batch, written, seconds):
            self._progress_at = self._committed_at

    def trouble(self, reason: str | None) -> None:
        """Take note that a commit is tried again because of `reason`, or (None) no longer."""
        self.commits.trouble(reason)
        self._retry_told_at = None if reason is None else _now()

    def is_alive(self, patience_s: float = PATIENCE_S) -> bool:
        """Tell whether each part moved in the last `patience_s`, or had not to."""
        return all(check.is_ok for check in self.liveness(patience_s))

    def liveness(self, patience_s: float = PATIENCE_S) -> list[Check]:
        """Return of each part whether it moved in the last `patience_s`, or had not to."""
        now = _now()
        return [self._moves(work, now, patience_s) for work in self._works]

    def _moves(self, work: Work, now: float, patience_s: float) -> Check:
        seen, done, waiting = self._seen[work.name], work.done(), work.waits()
        excused = work.behind_database and self._is_retrying(now)
        if done != seen.done or waiting == 0 or excused:
            seen.done, seen.moved_at = done, now
        still_s = now - seen.moved_at
        if excused:
            return Check(work.name, is_ok=True, reason=f"retrying, because {self.retrying}")
        if still_s < patience_s:
            return Check(work.name, is_ok=True, reason=f"{done} done, {waiting} waiting")
        return Check(work.name, is_ok=False, reason=f"nothing done for {still_s:.0f} s while {waiting} wait")

    def _is_retrying(self, now: float) -> bool:
        return self._retry_told_at is not None and now - self._retry_told_at < RETRY_PATIENCE_S

    def readiness(self) -> list[Check]:
        """Return whether what the daemon does is current, check by check. Nobody else is asked for it."""
        now = _now()
        hung = [check for check in self.liveness() if not check.is_ok]
        moves = Check("pipeline", not hung, "; ".join(f"{c.name}: {c.reason}" for c in hung) or "it moves")
        if self.commits.is_standby:
            mine = [Check("standby", is_ok=True, reason="another daemon writes")]
        else:
            mine = [self._database(now), self._progress(now), self._lag()]
        return [self._source(), moves, *mine, *(self._answer(name) for name in self._asked)]

    def _source(self) -> Check:
        is_ok = self.subscribed.is_set()
        return Check("source", is_ok, "subscribed" if is_ok else "no feed is subscribed yet")

    def _database(self, now: float) -> Check:
        if self.retrying is not None:
            return Check("database", is_ok=False, reason=f"retrying, because {self.retrying}")
        return _within("database", now - self._committed_at, COMMIT_LIMIT_S, "the last commit")

    def _progress(self, now: float) -> Check:
        return _within("progress", now - self._progress_at, PROGRESS_LIMIT_S, "the last step")

    def _lag(self) -> Check:
        if not self.ledger.newest_time:
            return Check("lag", is_ok=True, reason="no event yet")
        return _within("lag", max(time.time() - self.ledger.newest_time, 0), self.lag_limit_s, "the newest event")

    def _answer(self, name: str) -> Check:
        wrong = self._asked[name]()
        return Check(name, wrong is None, "fine" if wrong is None else wrong)

    def line(self, now: float) -> str:
        """Return one line for `systemctl status`; `now` in Unix seconds."""
        ledger = self.ledger
        if not self.subscribed.is_set():
            return "connecting"
        lag = f"{max(now - ledger.newest_time, 0):.0f} s behind" if ledger.newest_time else "no event yet"
        trouble = f"; retrying: {self.retrying}" if self.retrying else ""
        standby = "; standby" if self.commits.is_standby else ""
        return f"slot {ledger.head_slot or ledger.newest_slot}, {lag}, {ledger.stored} facts stored{standby}{trouble}"


def _within(name: str, age_s: float, limit_s: float, what: str) -> Check:
    return Check(name, age_s <= limit_s, f"{what} was {age_s:.0f} s ago, {limit_s:.0f} s are allowed")


async def beat(health: Health, notifier: Notifier, *, every_s: float, patience_s: float) -> None:
    """Tell the service manager until cancelled: ready once subscribed, then alive as long as the pipeline moves."""
    told_ready = False
    while True:
        if health.subscribed.is_set() and not told_ready:
            notifier.ready()
            told_ready = True
        if health.is_alive(patience_s):
            notifier.alive()
        notifier.status(health.line(time.time()))
        if told_ready:
            await asyncio.sleep(every_s)
        else:
            try:
                await asyncio.wait_for(health.subscribed.wait(), every_s)
            except TimeoutError:
                continue
