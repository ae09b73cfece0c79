"""What is fetched, when, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from decoders.core.types import Need
from monitor.sources.jobs import FetchAccounts, FetchBlock, FetchTime, FetchTransaction
from monitor.sources.notices import FetchGaveUp
from monitor.sources.pending import Pending, Rules

if TYPE_CHECKING:
    from monitor.sources.jobs import Job

RULES = Rules(gather_s=0.1, first_retry_s=0.3, longest_retry_s=2.0, give_up_after_s=10.0, block_at=3, max_waiting=1000)


def need(signature: str, slot: int = 1) -> Need:
    """Return a need of a whole transaction."""
    return Need(signature, slot, "truncated", "pumpfun")


def pool_need(signature: str, pool: str, slot: int = 1) -> Need:
    """Return a need that knowing a pool would meet."""
    return Need(signature, slot, "pool", "pumpswap", pool)


def time_need(signature: str, slot: int = 1) -> Need:
    """Return a need that knowing the slot's time would meet."""
    return Need(signature, slot, "time", "raydium_launchpad")


def test_needs_are_gathered_first() -> None:
    """Nothing is asked before the needs of a slot had time to come together."""
    pending = Pending(RULES)
    pending.want(need("a"), 0.0)
    assert pending.next_at() == 0.1
    assert pending.take(0.09, 9) == []
    assert pending.take(0.1, 9) == [FetchTransaction("a", 1)]
    assert pending.next_at() is None


def test_several_in_a_slot_take_its_block() -> None:
    """As many as the rule says wait in one slot: one block; fewer: each by itself; other slots are apart."""
    pending = Pending(RULES)
    for signature, slot in (("a", 1), ("b", 2), ("c", 1), ("d", 2), ("e", 1)):
        pending.want(need(signature, slot), 0.0)
    assert pending.take(1.0, 9) == [FetchBlock(1, ("a", "c", "e")), FetchTransaction("b", 2), FetchTransaction("d", 2)]


def test_what_a_block_lacks_is_asked_for_alone() -> None:
    """After its block, or when the block is not to be had, each is fetched by itself."""
    pending = Pending(RULES)
    for signature in "abcdef":
        pending.want(need(signature), 0.0)
    (job,) = pending.take(1.0, 9)
    pending.arrived("a")
    pending.answered(job, 1.0)
    assert pending.take(1.29, 9) == []
    assert sorted(map(repr, pending.take(1.3, 9))) == [repr(FetchTransaction(s, 1)) for s in "bcdef"]


def test_a_failed_block_is_asked_for_again_unless_it_is_not_to_be_had() -> None:
    """A passing error repeats the block, a lasting one falls back to single transactions."""
    pending = Pending(RULES)
    for signature in "abc":
        pending.want(need(signature), 0.0)
    (job,) = pending.take(1.0, 9)
    pending.failed(job, 1.0, "timeout")
    (again,) = pending.take(2.0, 9)
    assert again == job
    pending.failed(again, 2.0, "pruned", alone=True)
    assert len(pending.take(9.0, 9)) == 3


def test_retries_slow_down_until_it_is_given_up() -> None:
    """Delays double up to the longest; the end comes in time, with the last reason, once."""
    pending = Pending(RULES)
    pending.want(need("a", 5), 0.0)
    asked_at, now = [], 0.0
    while len(pending):
        at = pending.next_at()
        assert at is not None
        now = max(now, at)
        for job in pending.take(now, 9):
            asked_at.append(now)
            pending.failed(job, now, f"reason {len(asked_at)}")
    assert asked_at == pytest.approx([0.1, 0.4, 1.0, 2.2, 4.2, 6.2, 8.2])
    assert now == 10.0
    assert pending.next_at() == 0.0
    assert pending.expired() == [FetchGaveUp("a", 5, "reason 7", "fetch")]
    assert pending.expired() == []


def test_pools_are_asked_for_together() -> None:
    """Accounts share calls of a hundred; a transaction that is fetched whole needs no account."""
    pending = Pending(RULES)
    for number in range(250):
        pending.want(pool_need(f"s{number}", f"p{number % 125}"), 0.0)
    pending.want(need("whole"), 0.0)
    pending.want(pool_need("whole", "px"), 0.0)
    jobs = pending.take(1.0, 9)
    assert [len(job.addresses) for job in jobs if isinstance(job, FetchAccounts)] == [100, 25]
    assert [job for job in jobs if not isinstance(job, FetchAccounts)] == [FetchTransaction("whole", 1)]


def test_an_account_that_is_gone() -> None:
    """Its transactions are fetched instead."""
    pending = Pending(RULES)
    pending.want(pool_need("a", "p", 4), 0.0)
    pending.want(pool_need("b", "p", 5), 0.0)
    (job,) = pending.take(1.0, 9)
    pending.absent("p", 1.0)
    pending.absent("p", 1.0)
    pending.answered(job, 1.0)
    assert pending.take(2.0, 9) == [FetchTransaction("a", 4), FetchTransaction("b", 5)]


def test_the_time_of_a_slot_is_asked_for_once() -> None:
    """However many want it; where the whole transaction is on its way already, it is not asked for."""
    pending = Pending(RULES)
    for number in range(50):
        pending.want(time_need(f"s{number}", number % 2 + 1), 0.0)
    pending.want(need("whole", 3), 0.0)
    pending.want(time_need("whole", 3), 0.0)
    assert pending.take(1.0, 9) == [FetchTime(1), FetchTime(2), FetchTransaction("whole", 3)]
    pending.timed(1)
    assert len(pending) == 2


def test_a_time_that_nobody_wants_any_more_is_not_asked_for() -> None:
    """Once whole copies of all who wanted it have come."""
    pending = Pending(RULES)
    pending.want(time_need("a"), 0.0)
    pending.want(time_need("b"), 0.0)
    pending.arrived("a")
    assert len(pending) == 1
    pending.arrived("b")
    assert len(pending) == 0
    assert pending.take(1.0, 9) == []


def test_a_time_that_comes_late_is_asked_for_again_and_given_up() -> None:
    """Each that wanted it is told, as if it had been asked for by itself."""
    pending = Pending(RULES)
    pending.want(time_need("a", 5), 0.0)
    pending.want(time_need("b", 5), 0.0)
    (job,) = pending.take(1.0, 9)
    pending.failed(job, 1.0, "-32004 not yet")
    (again,) = pending.take(2.0, 9)
    assert again == job == FetchTime(5)
    pending.answered(again, 2.0)
    assert pending.take(10.0, 0) == []
    told = [FetchGaveUp(signature, 5, "the node does not have it yet", "fetch") for signature in "ab"]
    assert pending.expired() == told
    assert len(pending) == 0


def test_where_a_time_is_not_to_be_had_each_is_fetched_once() -> None:
    """Should the whole copy not tell it either, the time is waited for until it is given up."""
    pending = Pending(RULES)
    pending.want(time_need("a", 5), 0.0)
    pending.want(time_need("b", 5), 0.0)
    (job,) = pending.take(1.0, 9)
    pending.failed(job, 1.0, "-32601 no such method", alone=True)
    assert pending.take(2.0, 9) == [FetchTransaction("a", 5), FetchTransaction("b", 5)]
    for signature in "ab":
        pending.arrived(signature)
    pending.want(time_need("a", 5), 2.0)
    (job,) = pending.take(3.0, 9)
    pending.failed(job, 3.0, "-32601 no such method", alone=True)
    assert pending.take(4.0, 9) == [FetchTime(5)]
    assert pending.take(12.0, 9) == []
    assert [gave_up.signature for gave_up in pending.expired()] == ["a"]


def test_an_account_given_up_names_its_transactions() -> None:
    """What waited for a pool is told, except for what arrived by another way meanwhile."""
    pending = Pending(RULES)
    for signature in "abc":
        pending.want(pool_need(signature, "p"), 0.0)
    pending.arrived("b")
    assert pending.take(11.0, 9) == []
    assert pending.expired() == [FetchGaveUp(s, 1, "not asked for yet", "fetch") for s in "ac"]


def test_too_many() -> None:
    """Beyond the bound a need is given up at once, and said so."""
    pending = Pending(Rules(max_waiting=2))
    for signature in "abc":
        pending.want(need(signature), 0.0)
    assert len(pending) == 2
    assert pending.expired() == [FetchGaveUp("c", 1, "2 fetches wait already", "fetch")]


def test_too_many_pools() -> None:
    """A transaction of which one pool can be waited for and the other not is given up once, and not waited for."""
    pending = Pending(Rules(max_waiting=1))
    pending.want(pool_need("a", "p"), 0.0)
    pending.want(pool_need("a", "q"), 0.0)
    assert pending.expired() == [FetchGaveUp("a", 1, "1 fetches wait already", "fetch")]
    pending.take(100.0, 9)
    assert pending.expired() == []


def test_what_is_being_asked_for_is_given_up_in_time() -> None:
    """Also while there is no room for another job; an answer that comes later changes nothing."""
    pending = Pending(RULES)
    pending.want(need("a"), 0.0)
    (job,) = pending.take(1.0, 9)
    pending.want(need("b"), 5.0)
    assert pending.gives_up_at() == 10.0
    assert pending.take(10.0, 0) == []
    assert [gave_up.signature for gave_up in pending.expired()] == ["a"]
    assert pending.gives_up_at() == 15.0
    pending.failed(job, 11.0, "late")
    assert len(pending) == 1


@given(st.integers(1, 10_000))
def test_delays_are_bounded(tries: int) -> None:
    """No number of tries waits longer than the longest delay."""
    assert 0 < RULES.retry_s(tries) <= RULES.longest_retry_s


class Life(RuleBasedStateMachine):
    """Any order of needs, answers, failures and passing of time against a plain account of who waits for what."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.pending = Pending(RULES)
        self.now = 0.0
        self.open: dict[str, set[str]] = {}
        self.jobs: list[Job] = []
        self.spared: set[str] = set()

    @rule(number=st.integers(0, 12), slot=st.integers(1, 2), other=st.sampled_from([None, "p", "q", "time"]))
    def want(self, number: int, slot: int, other: str | None) -> None:
        """Need a transaction, or its pool, or its slot's time."""
        signature = f"{slot}s{number}"
        keys = self.open.setdefault(signature, set())
        match other:
            case None:
                self.pending.want(need(signature, slot), self.now)
                keys.add(signature)
            case "time":
                self.pending.want(time_need(signature, slot), self.now)
            case pool:
                self.pending.want(pool_need(signature, pool, slot), self.now)
        if other is not None and signature not in keys:
            keys.add(f"time of {slot}" if other == "time" else other)

    @rule(seconds=st.floats(0.01, 4))
    def wait(self, seconds: float) -> None:
        """Let time pass, take what is due and what expired: each signature at most once."""
        self.now += seconds
        jobs = self.pending.take(self.now, 5)
        assert len(jobs) <= 5
        asked = [key for job in jobs for key in keys_of(job)]
        assert len(asked) == len(set(asked))
        for job in jobs:
            match job:
                case FetchBlock(signatures=signatures):
                    assert len(signatures) >= RULES.block_at
                    assert all(signature.startswith(str(job.slot)) for signature in signatures)
                case FetchTransaction():
                    assert job.signature.startswith(str(job.slot))
        self.jobs += jobs
        for gave_up in self.pending.expired():
            del self.open[gave_up.signature]

    @rule(data=st.data(), how=st.sampled_from(["failed", "answered", "absent"]))
    def come_back(self, data: st.DataObject, how: str) -> None:
        """End a job in any way."""
        if not self.jobs:
            return
        job = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        if how == "failed":
            alone = data.draw(st.booleans())
            if alone and isinstance(job, FetchTime):
                self.fall_back(job)
            self.pending.failed(job, self.now, "x", alone=alone)
            return
        if isinstance(job, FetchTime):
            self.time_comes(job.slot)
            self.pending.answered(job, self.now)
            return
        for key in data.draw(st.lists(st.sampled_from(keys_of(job)), unique=True)):
            if not isinstance(job, FetchAccounts):
                self.arrive(key)
                continue
            if how == "absent":
                self.pending.absent(key, self.now)
            else:
                self.pending.arrived(key)
            for signature, keys in list(self.open.items()):
                if key in keys:
                    keys.remove(key)
                    if how == "absent":
                        keys.add(signature)
                    elif not keys:
                        del self.open[signature]
        self.pending.answered(job, self.now)

    @rule(number=st.integers(0, 12), slot=st.integers(1, 2))
    def arrive_elsewhere(self, number: int, slot: int) -> None:
        """A whole copy comes by another way."""
        self.arrive(f"{slot}s{number}")

    def fall_back(self, job: FetchTime) -> None:
        """Who wants a time that is not to be had wants the transaction from now on, the first time."""
        for signature, keys in self.open.items():
            if f"time of {job.slot}" in keys and signature not in self.spared and self.is_waiting(signature):
                self.spared.add(signature)
                keys.clear()
                keys.add(signature)

    def is_waiting(self, signature: str) -> bool:
        """Tell whether it was not given up already."""
        return signature not in [one.signature for one in self.pending._gave_up]

    @rule(slot=st.integers(1, 2))
    def time_comes(self, slot: int) -> None:
        """The time of a slot comes, of itself or by a job."""
        self.pending.timed(slot)
        for signature, keys in list(self.open.items()):
            if f"time of {slot}" in keys and self.is_waiting(signature):
                keys.remove(f"time of {slot}")
                if not keys:
                    del self.open[signature]

    def arrive(self, signature: str) -> None:
        """A whole copy ends every wait of its transaction."""
        self.pending.arrived(signature)
        self.open.pop(signature, None)

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """Who needs something is waited for by exactly that, or was given up and not told yet."""
        gave_up = [one.signature for one in self.pending._gave_up]
        waited: dict[str, set[str]] = {}
        for key, wait in self.pending._waits.items():
            for signature in wait.slots:
                waited.setdefault(signature, set()).add(key)
        assert waited == {signature: keys for signature, keys in self.open.items() if signature not in gave_up}

    @invariant()
    def books_agree(self) -> None:
        """The helper tables name exactly what is waited for."""
        pending = self.pending
        kinds = {key: wait.kind for key, wait in pending._waits.items()}
        assert set(pending._accounts) == {key for key, kind in kinds.items() if kind == "account"}
        transactions = {key for key, kind in kinds.items() if kind == "transaction"}
        assert {key for group in pending._by_slot.values() for key in group} == transactions
        others = {(s, key) for key, wait in pending._waits.items() if key not in transactions for s in wait.slots}
        assert {(s, key) for s, keys in pending._others_of.items() for key in keys} == others
        assert all(wait.slots for wait in pending._waits.values() if wait.kind == "time")
        due = {key for _, key in pending._due}
        assert {key for key, wait in pending._waits.items() if not wait.is_asked} <= due


def keys_of(job: Job) -> tuple[str, ...]:
    """Return what a job asks for."""
    match job:
        case FetchTransaction():
            return (job.signature,)
        case FetchBlock():
            return job.signatures
        case FetchAccounts():
            return job.addresses
        case FetchTime():
            return (f"time of {job.slot}",)


TestLife = Life.TestCase
