"""Which fetches are due: grouped, repeated, and given up in time. Pure; the caller brings the time."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from monitor.sources.jobs import FetchAccounts, FetchBlock, FetchTime, FetchTransaction
from monitor.sources.notices import FETCH, FetchGaveUp
from monitor.sources.rpc import MAX_ACCOUNTS_PER_CALL

if TYPE_CHECKING:
    from decoders.core.types import Need
    from monitor.sources.jobs import Job

_NEVER_ASKED = "not asked for yet"
_NOT_YET = "the node does not have it yet"
_MAX_DOUBLINGS = 30
_MOST_SPARED = 20_000

_Kind = Literal["transaction", "account", "time"]


@dataclass(frozen=True, slots=True)
class Rules:
    """
    How to go about fetches.

    `gather_s` is waited before the first try, since needs of a slot come together; `block_at` of them take its block.
    """

    gather_s: float = 0.05
    first_retry_s: float = 0.3
    longest_retry_s: float = 4.0
    give_up_after_s: float = 30.0
    block_at: int = 4
    max_waiting: int = 50_000

    def retry_s(self, tries: int) -> float:
        """Return how long to wait after the given number of tries (1 and up)."""
        doubled: float = self.first_retry_s * 2 ** min(tries - 1, _MAX_DOUBLINGS)
        return min(doubled, self.longest_retry_s)


@dataclass(slots=True)
class _Wait:
    """Something that is waited for. `slots` are those of the transactions that want it, by signature."""

    key: str
    slots: dict[str, int]
    kind: _Kind
    give_up_at: float
    due_at: float
    tries: int = 0
    is_asked: bool = False
    is_alone: bool = False
    reason: str = _NEVER_ASKED


@dataclass(slots=True)
class Pending:
    """Transactions, accounts and times of slots that are wanted and not here yet."""

    rules: Rules
    # Its first member is asked for again and again: that is quick here, and slow in a dict whose first ones were taken.
    _waits: OrderedDict[str, _Wait] = field(default_factory=OrderedDict)
    _by_slot: dict[int, dict[str, None]] = field(default_factory=dict)
    _due: list[tuple[float, str]] = field(default_factory=list)
    _accounts: dict[str, None] = field(default_factory=dict)
    # Accounts and times that would do for a transaction.
    _others_of: dict[str, dict[str, None]] = field(default_factory=dict)
    # Transactions of late that were asked for since the time of their slot was not to be had.
    _spared: dict[str, None] = field(default_factory=dict)
    _gave_up: list[FetchGaveUp] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many are waited for."""
        return len(self._waits)

    def want(self, need: Need, now: float) -> None:
        """Wait for what a need names: its pool or its slot's time where that would do, else its transaction."""
        if need.reason == "pool" and need.pool is not None:
            self._want_other(need.pool, need, now, "account")
        elif need.reason == "time":
            self._want_other(_time_key(need.slot), need, now, "time")
        else:
            self._want(need.signature, need.signature, need.slot, now, "transaction")

    def arrived(self, key: str) -> None:
        """Stop waiting: a whole copy of the transaction, or the account, came by another way."""
        for other in self._others_of.pop(key, ()):
            self._let_go(other, key)
        wait = self._waits.pop(key, None)
        if wait is not None:
            self._forget(wait)

    def timed(self, slot: int) -> None:
        """Stop waiting for the time of a slot: it came."""
        self.arrived(_time_key(slot))

    def take(self, now: float, limit: int) -> list[Job]:
        """
        Return up to `limit` jobs that are due, oldest first. Each must come back by `answered` or `failed`.

        What was waited for too long is given up, be it asked for or not: see `expired`.
        """
        self._give_up_overdue(now)
        jobs: list[Job] = []
        while len(jobs) < limit and self._due and self._due[0][0] <= now:
            due_at, key = heapq.heappop(self._due)
            wait = self._waits.get(key)
            if wait is None or wait.is_asked or wait.due_at != due_at:
                continue  # arrived, or put off since
            jobs.append(self._job(wait, now))
        return jobs

    def answered(self, job: Job, now: float) -> None:
        """Take note of an answer: what did not arrive by it is asked for again, and not by its block any more."""
        self._put_off(job, now, _NOT_YET, alone=isinstance(job, FetchBlock))

    def absent(self, address: str, now: float) -> None:
        """Take note that there is no such account: the transactions that wanted it are fetched themselves."""
        wait = self._waits.get(address)
        if wait is None or wait.kind != "account":
            return
        self.arrived(address)
        for signature, slot in wait.slots.items():
            self._want(signature, signature, slot, now, "transaction")

    def failed(self, job: Job, now: float, reason: str, *, alone: bool = False) -> None:
        """
        Take note that a job brought nothing.

        Args:
            alone: The slot's block or time is not to be had: ask for each transaction by itself.
        """
        if alone and isinstance(job, FetchTime):
            self._instead_of_time(job.slot, now)
        self._put_off(job, now, reason, alone=alone)

    def expired(self) -> list[FetchGaveUp]:
        """Return (once) what is not waited for any longer, with the reason."""
        gave_up, self._gave_up = self._gave_up, []
        return gave_up

    def next_at(self) -> float | None:
        """Return when there may be something to do; None: not before something new is wanted or a job comes back."""
        if self._gave_up:
            return 0.0
        while self._due and not self._is_current(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def gives_up_at(self) -> float | None:
        """Return when the next one will have been waited for too long; None: nothing is waited for."""
        return next((wait.give_up_at for wait in self._waits.values()), None)

    def _give_up_overdue(self, now: float) -> None:
        # They are given up in the order in which they came: each is given the same time.
        while (at := self.gives_up_at()) is not None and at <= now:
            self._give_up(next(iter(self._waits.values())))

    def _is_current(self, due_at: float, key: str) -> bool:
        wait = self._waits.get(key)
        return wait is not None and not wait.is_asked and wait.due_at == due_at

    def _instead_of_time(self, slot: int, now: float) -> None:
        """Fetch the transactions that want a time, each once: their whole copies may not tell it either."""
        wait = self._waits.get(_time_key(slot))
        for signature in [] if wait is None else [one for one in wait.slots if one not in self._spared]:
            self._spared[signature] = None
            if len(self._spared) > _MOST_SPARED:
                del self._spared[next(iter(self._spared))]
            self.arrived(signature)
            self._want(signature, signature, slot, now, "transaction")

    def _let_go(self, other: str, signature: str) -> None:
        """A transaction wants no account or time any more. Accounts serve others to come, times of slots hardly."""
        wait = self._waits.get(other)
        if wait is not None:
            wait.slots.pop(signature, None)
            if wait.kind == "time" and not wait.slots:
                del self._waits[other]

    def _want_other(self, key: str, need: Need, now: float, kind: _Kind) -> None:
        if need.signature not in self._waits:  # its whole copy tells the same
            self._want(key, need.signature, need.slot, now, kind)

    def _want(self, key: str, signature: str, slot: int, now: float, kind: _Kind) -> None:
        known = self._waits.get(key)
        if known is None and len(self._waits) >= self.rules.max_waiting:
            self._gave_up.append(FetchGaveUp(signature, slot, f"{self.rules.max_waiting} fetches wait already", FETCH))
            self.arrived(signature)  # nor is it waited for by another of its pools
            return
        if kind != "transaction":
            self._others_of.setdefault(signature, {})[key] = None
        if known is not None:
            known.slots.setdefault(signature, slot)
            return
        due_at = now + self.rules.gather_s
        give_up_at = now + self.rules.give_up_after_s
        self._waits[key] = _Wait(key, {signature: slot}, kind, give_up_at, due_at)
        if kind == "account":
            self._accounts[key] = None
        elif kind == "transaction":
            self._by_slot.setdefault(slot, {})[key] = None
        heapq.heappush(self._due, (due_at, key))

    def _job(self, wait: _Wait, now: float) -> Job:
        group = self._group(wait, now)
        for one in group:
            one.is_asked = True
        if wait.kind == "account":
            return FetchAccounts(tuple(one.key for one in group))
        slot = next(iter(wait.slots.values()))
        if wait.kind == "time":
            return FetchTime(slot)
        if len(group) == 1:
            return FetchTransaction(wait.key, slot)
        return FetchBlock(slot, tuple(one.key for one in group))

    def _group(self, wait: _Wait, now: float) -> list[_Wait]:
        """Return what one request can bring along with `wait`."""
        if wait.kind == "account":
            others = (self._waits[key] for key in self._accounts if key != wait.key)
            group = [wait, *(one for one in others if one.due_at <= now and not one.is_asked)]
            return group[:MAX_ACCOUNTS_PER_CALL]
        if wait.is_alone or wait.kind == "time":
            return [wait]
        siblings = (self._waits[key] for key in self._by_slot[wait.slots[wait.key]])
        group = [one for one in siblings if not one.is_asked and not one.is_alone]
        return group if len(group) >= self.rules.block_at else [wait]

    def _put_off(self, job: Job, now: float, reason: str, *, alone: bool) -> None:
        for key in _keys(job):
            wait = self._waits.get(key)
            if wait is None:
                continue
            wait.is_asked = False
            wait.is_alone = wait.is_alone or alone
            wait.tries += 1
            wait.reason = reason
            wait.due_at = min(now + self.rules.retry_s(wait.tries), max(wait.give_up_at, now))
            heapq.heappush(self._due, (wait.due_at, key))

    def _give_up(self, wait: _Wait) -> None:
        for signature, slot in list(wait.slots.items()):
            self._gave_up.append(FetchGaveUp(signature, slot, wait.reason, FETCH))
            self.arrived(signature)  # nor is it waited for by another of its pools
        self.arrived(wait.key)

    def _forget(self, wait: _Wait) -> None:
        if wait.kind == "account":
            del self._accounts[wait.key]
        if wait.kind != "transaction":
            for signature in wait.slots:
                self._forget_other_of(signature, wait.key)
            return
        slot = wait.slots[wait.key]
        self._by_slot[slot].pop(wait.key, None)
        if not self._by_slot[slot]:
            del self._by_slot[slot]

    def _forget_other_of(self, signature: str, key: str) -> None:
        others = self._others_of[signature]
        del others[key]
        if not others:
            del self._others_of[signature]


def _time_key(slot: int) -> str:
    """Return under what the time of a slot is waited for: text that is no address and no signature."""
    return f"time of {slot}"


def _keys(job: Job) -> tuple[str, ...]:
    match job:
        case FetchTransaction():
            return (job.signature,)
        case FetchBlock():
            return job.signatures
        case FetchAccounts():
            return job.addresses
        case FetchTime():
            return (_time_key(job.slot),)
