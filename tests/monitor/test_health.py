"""What the service manager hears: ready once, alive as long as the pipeline moves, and one line that people read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from monitor.errors import StoreUnavailable
from monitor.health import Health, OpenHoles, Work, beat
from monitor.health import health as module
from monitor.health.health import COMMIT_LIMIT_S, LAG_LIMIT_S, PROGRESS_LIMIT_S, RETRY_PATIENCE_S
from monitor.sdnotify import ServiceManager
from monitor.serving import _Watching
from monitor.store.batch import SKIPPED_BY_START, Batch, Filled, Hole, Progress, Written
from tests.monitor.daemon import NOW, Flow, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.health import Notifier

PATIENCE_S = 60.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        """Return it."""
        return self.now_s

    def time(self) -> float:
        """Return it, as Unix seconds."""
        return 1_790_000_000.0 + self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which health is judged."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def flow() -> Flow:
    """Return counts of a pipeline that has seen nothing."""
    return Flow()


@pytest.fixture
def health(clock: Clock, flow: Flow) -> Health:
    """Return a daemon's health after its first beat."""
    health = Health(flow)
    assert health.is_alive(PATIENCE_S)
    return health


def tell(flow: Flow, count: int = 1) -> None:
    """Put facts into flight."""
    flow.told_count += count
    flow.in_flight += count
    flow.newest_slot, flow.newest_time = 100, 1_790_000_000


def settle(flow: Flow, count: int = 1) -> None:
    """Have facts settled, whatever became of them."""
    flow.in_flight -= count
    flow.stored += count


def commit(health: Health, slot: int = 0) -> None:
    """Have a batch committed, with progress to a slot."""
    progress = [Progress(feed="logs", slot=slot)] if slot else []
    health.committed(Batch(progress=progress), Written(None), 0.25)


def failed(health: Health) -> dict[str, str]:
    """Return the reasons of checks of readiness that are not content."""
    return {check.name: check.reason for check in health.readiness() if not check.is_ok}


def test_a_quiet_market_is_alive(health: Health, clock: Clock) -> None:
    """Where nothing is in flight nothing has to move."""
    clock.now_s += 10 * PATIENCE_S
    assert health.is_alive(PATIENCE_S)


def test_facts_that_do_not_move_are_a_daemon_that_hangs(health: Health, flow: Flow, clock: Clock) -> None:
    """After the given patience it is not alive, and it is again as soon as one fact is settled."""
    tell(flow, 3)
    assert health.is_alive(PATIENCE_S)
    clock.now_s += PATIENCE_S - 1
    assert health.is_alive(PATIENCE_S)
    clock.now_s += 1
    tell(flow)
    assert not health.is_alive(PATIENCE_S), "what comes in is no movement"
    assert failed(health)["pipeline"] == "write: nothing done for 60 s while 4 wait"
    settle(flow)
    assert health.is_alive(PATIENCE_S)
    clock.now_s += PATIENCE_S
    assert not health.is_alive(PATIENCE_S)


def test_patience_begins_with_the_first_fact(health: Health, flow: Flow, clock: Clock) -> None:
    """A long quiet before it does not count."""
    clock.now_s += 10 * PATIENCE_S
    assert health.is_alive(PATIENCE_S)
    clock.now_s += 5
    tell(flow)
    assert health.is_alive(PATIENCE_S)


def test_who_retries_and_says_why_is_alive(health: Health, flow: Flow, clock: Clock) -> None:
    """A database that is away for an hour is no reason to restart the daemon; when it is back, patience begins anew."""
    tell(flow)
    for _ in range(360):
        health.trouble("commit: away")
        clock.now_s += 10
        assert health.is_alive(PATIENCE_S)
    assert failed(health)["database"] == "retrying, because commit: away"
    assert health.liveness()[0].reason == "retrying, because commit: away"
    health.trouble(None)
    clock.now_s += PATIENCE_S - 1
    assert health.is_alive(PATIENCE_S)
    clock.now_s += 1
    assert not health.is_alive(PATIENCE_S)


def test_a_retry_that_falls_silent_hangs(health: Health, flow: Flow, clock: Clock) -> None:
    """A try that never ends, of which nothing more is heard, is no life."""
    tell(flow)
    health.trouble("commit: away")
    clock.now_s += RETRY_PATIENCE_S - 1
    assert health.is_alive(PATIENCE_S)
    clock.now_s += PATIENCE_S
    assert not health.is_alive(PATIENCE_S)
    health.trouble("commit: still away")
    assert health.is_alive(PATIENCE_S)


@pytest.mark.parametrize("name", ["decode", "journal"])
def test_each_part_must_move_by_itself(health: Health, clock: Clock, name: str) -> None:
    """Decode that hangs is not hidden by a writer that has nothing to do, nor is a journal that does not reach disk."""
    done, waits = [0], [5]
    health.watch(Work(name, lambda: done[0], lambda: waits[0]))
    assert health.is_alive(PATIENCE_S)
    clock.now_s += PATIENCE_S
    assert [check.name for check in health.liveness(PATIENCE_S) if not check.is_ok] == [name]
    done[0] += 1
    assert health.is_alive(PATIENCE_S)
    waits[0] = 0
    clock.now_s += PATIENCE_S
    assert health.is_alive(PATIENCE_S)


def test_a_retry_excuses_only_who_waits_for_the_database(health: Health, clock: Clock) -> None:
    """Decode stands still behind a full queue; the journal has no such excuse."""
    health.watch(Work("decode", lambda: 0, lambda: 9))
    health.watch(Work("journal", lambda: 0, lambda: 9, behind_database=False))
    clock.now_s += PATIENCE_S
    health.trouble("commit: away")
    assert [check.name for check in health.liveness(PATIENCE_S) if not check.is_ok] == ["journal"]


def test_ready_means_subscribed_committing_progressing_and_current(health: Health, flow: Flow, clock: Clock) -> None:
    """Each of these alone makes a daemon unready, with its reason."""
    assert failed(health) == {"source": "no feed is subscribed yet"}
    health.subscribed.set()
    assert failed(health) == {}
    clock.now_s += COMMIT_LIMIT_S + 1
    assert failed(health) == {"database": "the last commit was 31 s ago, 30 s are allowed"}
    commit(health, slot=5)
    clock.now_s += PROGRESS_LIMIT_S + 1
    commit(health, slot=5)
    assert failed(health) == {"progress": "the last step was 121 s ago, 120 s are allowed"}
    commit(health, slot=4)
    assert "progress" in failed(health), "a step back is none"
    commit(health, slot=6)
    assert failed(health) == {}
    flow.newest_time = int(clock.time() - LAG_LIMIT_S) - 1
    assert failed(health) == {"lag": "the newest event was 61 s ago, 60 s are allowed"}


def test_what_others_ask_is_part_of_it(health: Health) -> None:
    """A full journal, a schema that does not fit: whoever knows adds a question."""
    health.subscribed.set()
    wrong: list[str | None] = [None]
    health.ask("journal", lambda: wrong[0])
    assert failed(health) == {}
    wrong[0] = "full"
    assert failed(health) == {"journal": "full"}


def test_a_standby_is_ready_without_commits(health: Health, clock: Clock) -> None:
    """It subscribes, and does not write."""
    health.subscribed.set()
    health.commits.is_standby = True
    clock.now_s += 1_000
    assert failed(health) == {}
    assert {check.name for check in health.readiness()} == {"source", "pipeline", "standby"}
    assert "; standby" in health.line(0)


def test_holes_that_are_filled_are_told_to_history(health: Health) -> None:
    """History looks again when something of holes was committed, and only then; troubles are passed on."""
    told: list[list[int]] = []

    class History:
        def committed(self, ids: list[int]) -> None:
            told.append(ids)

    watching = _Watching(health, History())  # type: ignore[arg-type]  # this much of it is used
    watching.committed(Batch(), Written(None), 0.1)
    watching.committed(Batch(filled=[Filled(by="history", hole_id=7)]), Written(None), 0)
    watching.committed(Batch(holes=[Hole(first_slot=1, last_slot=2, reason="reconnect")]), Written(None), 0)
    watching.trouble("away")
    assert told == [[7], []]
    assert health.commits.batch_seconds.count == 3
    assert health.retrying == "away"


async def test_open_holes_are_looked_at_and_kept_while_the_database_is_away() -> None:
    """The last look stands; a reason that has no hole any more is told with a zero."""
    answers: list[list[Row] | StoreUnavailable] = [
        [Row("reconnect", 1, 10), Row("reconnect", 20, 20, signature="s"), Row(SKIPPED_BY_START, 1, 5)],
        StoreUnavailable("away"),
        [Row("audit", 1, 10, filled_through=4)],
    ]
    looks: list[tuple[dict[tuple[str, ...], int], float | None]] = []
    found, done = OpenHoles(), asyncio.Event()

    class Holes:
        async def holes(self, *, open_only: bool, limit: int) -> list[Row]:
            if not open_only:
                return [Row("audit", 1, 1, id=len(looks))]
            looks.append((dict(found.slots), found.oldest_at))
            if not answers:
                done.set()
                return []
            answer = answers.pop(0)
            if isinstance(answer, StoreUnavailable):
                raise answer
            return answer

    task = asyncio.create_task(found.run(Holes(), every_s=0))
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    await asyncio.wait({task})
    first = {("reconnect",): 11}
    assert looks[:4] == [
        ({}, None),
        (first, NOW - 500),
        (first, NOW - 500),
        ({("reconnect",): 0, ("audit",): 6}, NOW - 500),
    ]
    assert found.left == {(SKIPPED_BY_START,): 0}
    assert found.oldest_at is None


def test_holes_are_counted_by_whomever_they_were_recorded() -> None:
    """What stood there at the start is no news; afterwards each counts once, filled or not."""
    found = OpenHoles()
    found.noticed([Row("reconnect", 1, 2, id=7), Row("audit", 1, 2, id=6)])
    assert found.found == {("audit",): 0}
    for _ in range(2):
        found.noticed([Row("audit", 3, 3, id=9), Row("reconnect", 1, 2, id=8), Row("reconnect", 1, 2, id=7)])
    assert found.found == {("audit",): 1, ("reconnect",): 1}
    found.noticed([])
    assert found.found.total() == 2


def test_the_line_says_how_things_are(health: Health, flow: Flow) -> None:
    """Where the chain is, how far behind we are by the chain's own time, what is stored, and what is the matter."""
    assert health.line(0) == "connecting"
    health.subscribed.set()
    flow.head_slot = 454
    assert health.line(0) == "slot 454, no event yet, 0 facts stored"
    tell(flow)
    settle(flow)
    at = 1_790_000_000
    assert health.line(at + 2.4) == "slot 454, 2 s behind, 1 facts stored"
    assert health.line(at - 9) == "slot 454, 0 s behind, 1 facts stored", "clocks differ"
    health.trouble("commit: away")
    assert health.line(at) == "slot 454, 0 s behind, 1 facts stored; retrying: commit: away"
    flow.head_slot = 0
    assert health.line(at).startswith("slot 100,"), "a capture has no heads"


class Heard:
    """A service manager that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.more = asyncio.Event()

    def _hear(self, what: str) -> None:
        self.told.append(what)
        self.more.set()

    def ready(self) -> None:
        """Remember it."""
        self._hear("ready")

    def alive(self) -> None:
        """Remember it."""
        self._hear("alive")

    def status(self, text: str) -> None:
        """Remember it."""
        self._hear(text.partition(",")[0])

    async def until(self, count: int) -> list[str]:
        """Return what was told, once it is so much."""
        while len(self.told) < count:
            self.more.clear()
            await self.more.wait()
        return self.told[:count]


@contextlib.asynccontextmanager
async def beating(health: Health, notifier: Notifier, every_s: float = 0.001) -> AsyncIterator[None]:
    """Run the heartbeat meanwhile."""
    task = asyncio.create_task(beat(health, notifier, every_s=every_s, patience_s=PATIENCE_S))
    try:
        async with asyncio.timeout(20):
            yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()


async def test_ready_is_told_once_subscribed_and_once() -> None:
    """Before that the daemon is alive, and says that it connects."""
    health, heard = Health(Flow()), Heard()
    async with beating(health, heard):
        assert await heard.until(4) == ["alive", "connecting"] * 2
        heard.told.clear()
        health.subscribed.set()
        await heard.until(12)
    first = heard.told.index("ready")
    assert set(heard.told[:first]) <= {"alive", "connecting"}
    assert heard.told[first + 1 : first + 5] == ["alive", "slot 0"] * 2
    assert heard.told.count("ready") == 1


async def test_ready_does_not_wait_for_the_next_beat() -> None:
    """It is told at the moment of the subscription."""
    health, heard = Health(Flow()), Heard()
    async with beating(health, heard, every_s=3600):
        await heard.until(2)
        health.subscribed.set()
        assert await heard.until(5) == ["alive", "connecting", "ready", "alive", "slot 0"]


async def test_a_daemon_that_hangs_does_not_feed_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on telling how things are, for people."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    flow = Flow()
    health, heard = Health(flow), Heard()
    health.subscribed.set()
    tell(flow)
    async with beating(health, heard):
        assert await heard.until(3) == ["ready", "alive", "slot 100"]
        clock.now_s += PATIENCE_S
        heard.told.clear()
        assert (await heard.until(9))[2:] == ["slot 100"] * 7


async def test_the_service_manager_hears_it() -> None:
    """By a real socket, in the words of sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0launch-monitor-health-{os.getpid()}")
        listener.setblocking(False)
        health = Health(Flow())
        health.subscribed.set()
        told = ServiceManager({"NOTIFY_SOCKET": f"@launch-monitor-health-{os.getpid()}"})
        async with beating(health, told, every_s=3600):
            loop = asyncio.get_running_loop()
            said = [await loop.sock_recv(listener, 4096) for _ in range(3)]
    assert said == [b"READY=1", b"WATCHDOG=1", b"STATUS=slot 0, no event yet, 0 facts stored"]
