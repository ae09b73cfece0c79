"""What the service manager hears: ready once, alive as long as the pipeline moves, and one line that people read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from monitor import health as module
from monitor.health import Health, beat
from monitor.pipeline.ledger import Ledger
from monitor.sdnotify import ServiceManager
from monitor.store.batch import Batch, Written
from tests.pipeline.facts import trade

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
def health(clock: Clock) -> Health:
    """Return a daemon's health after its first beat."""
    health = Health(Ledger())
    assert health.is_alive(PATIENCE_S)
    return health


def tell(health: Health, count: int = 1) -> None:
    """Put facts into flight."""
    for number in range(count):
        health.ledger.told(trade(nth=number))


def store(health: Health, count: int = 1) -> None:
    """Have facts committed."""
    facts = [trade(nth=number) for number in range(count)]
    written = Written(1, new=[*facts])
    health.ledger.wrote(written)
    health.committed(Batch(facts), written, 0.25)


def test_a_quiet_market_is_alive(health: Health, clock: Clock) -> None:
    """Where nothing is in flight nothing has to move."""
    clock.now_s += 10 * PATIENCE_S
    assert health.is_alive(PATIENCE_S)


def test_facts_that_do_not_move_are_a_daemon_that_hangs(health: Health, clock: Clock) -> None:
    """After the given patience it is not alive, and it is again as soon as one fact is settled."""
    tell(health, 3)
    assert health.is_alive(PATIENCE_S)
    clock.now_s += PATIENCE_S - 1
    assert health.is_alive(PATIENCE_S)
    clock.now_s += 1
    tell(health)
    assert not health.is_alive(PATIENCE_S), "what comes in is no movement"
    store(health)
    assert health.is_alive(PATIENCE_S)
    clock.now_s += PATIENCE_S
    assert not health.is_alive(PATIENCE_S)


def test_patience_begins_with_the_first_fact(health: Health, clock: Clock) -> None:
    """A long quiet before it does not count."""
    clock.now_s += 10 * PATIENCE_S
    assert health.is_alive(PATIENCE_S)
    clock.now_s += 5
    tell(health)
    assert health.is_alive(PATIENCE_S)


@pytest.mark.parametrize("settled", ["filtered", "refused", "duplicates"])
def test_what_is_not_stored_is_settled_too(health: Health, clock: Clock, settled: str) -> None:
    """A market of which everything is filtered moves."""
    tell(health, 2)
    assert health.is_alive(PATIENCE_S)
    clock.now_s += PATIENCE_S
    if settled == "filtered":
        health.ledger.filtered["pumpswap"] += 1
    else:
        setattr(health.ledger, settled, 1)
    assert health.is_alive(PATIENCE_S)


def test_who_retries_and_says_why_is_alive(health: Health, clock: Clock) -> None:
    """A database that is away is no reason to restart the daemon; when it is back, patience begins anew."""
    tell(health)
    health.trouble("commit: away")
    clock.now_s += 10 * PATIENCE_S
    assert health.is_alive(PATIENCE_S)
    health.trouble(None)
    clock.now_s += PATIENCE_S - 1
    assert health.is_alive(PATIENCE_S)
    clock.now_s += 1
    assert not health.is_alive(PATIENCE_S)


def test_commits_are_measured(health: Health) -> None:
    """How many, of how many rows, in how long."""
    assert health.newest_commit_s is None
    store(health, 3)
    store(health, 2)
    assert (health.commits, health.commit_rows, health.commit_seconds) == (2, 5, 0.5)
    assert health.newest_commit_s == 0.25


def test_the_line_says_how_things_are(health: Health) -> None:
    """Where the chain is, how far behind we are by the chain's own time, what is stored, and what is the matter."""
    assert health.line(0) == "connecting"
    health.subscribed.set()
    health.ledger.head_slot = 454
    assert health.line(0) == "slot 454, no event yet, 0 facts stored"
    tell(health)
    store(health)
    at = 1_790_000_000
    assert health.line(at + 2.4) == "slot 454, 2 s behind, 1 facts stored"
    assert health.line(at - 9) == "slot 454, 0 s behind, 1 facts stored", "clocks differ"
    health.trouble("commit: away")
    assert health.line(at) == "slot 454, 0 s behind, 1 facts stored; retrying: commit: away"
    health.ledger.head_slot = 0
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
    health, heard = Health(Ledger()), Heard()
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
    health, heard = Health(Ledger()), Heard()
    async with beating(health, heard, every_s=3600):
        await heard.until(2)
        health.subscribed.set()
        assert await heard.until(5) == ["alive", "connecting", "ready", "alive", "slot 0"]


async def test_a_daemon_that_hangs_does_not_feed_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on telling how things are, for people."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    health, heard = Health(Ledger()), Heard()
    health.subscribed.set()
    tell(health)
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
        health = Health(Ledger())
        health.subscribed.set()
        told = ServiceManager({"NOTIFY_SOCKET": f"@launch-monitor-health-{os.getpid()}"})
        async with beating(health, told, every_s=3600):
            loop = asyncio.get_running_loop()
            said = [await loop.sock_recv(listener, 4096) for _ in range(3)]
    assert said == [b"READY=1", b"WATCHDOG=1", b"STATUS=slot 0, no event yet, 0 facts stored"]
