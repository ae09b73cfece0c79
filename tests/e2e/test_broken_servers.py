"""Database and Redis broken in every way we know: the daemon says so, lives on, and in the end nothing is missing."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from redis.asyncio import Redis

from simulator.chain import Rules
from simulator.run import Simulator
from tests.chaos import judge, servers
from tests.e2e import breakages, broken, daemon, rows
from tests.e2e.readiness import failing
from tests.e2e.truth import differences
from tests.e2e.watching import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.chaos.servers import Server
    from tests.e2e.broken import World

pytestmark = [pytest.mark.slow]

# The environment's own script: what these tests try is not the wheel.
PROGRAM = Path(sys.executable).with_name("launch-monitor")
FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
STREAM = "launches"
TRANSACTIONS = 150
PATIENCE_S = 60
PASSING = {
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53200": "out of memory",
    "53400": "a limit of the server",
    "55P03": "lock timeout",
    "57014": "statement timeout",
    "58030": "I/O error",
}


@dataclass
class Subject:
    """A daemon between a node and servers that break."""

    world: World
    node: Simulator
    port: int
    folder: Path

    async def trade(self) -> None:
        """Let some transactions happen."""
        await self.node.run_for(transactions=TRANSACTIONS)

    async def until(self, is_so: Callable[[], Awaitable[bool]], transactions: int = 5) -> None:
        """Wait until something is so; some transactions happen between two looks."""
        async with asyncio.timeout(PATIENCE_S):
            while not await is_so():
                await self.node.run_for(transactions=transactions)
                await self.node.idle_until(iter((False, True)).__next__)

    async def has_all(self) -> None:
        """Wait until the database says itself that it holds everything there was until now."""
        slot = self.node.chain.slot
        await self.until(lambda: judge.is_settled(self.world.own_url, slot), transactions=0)

    async def says(self, name: str, reason: str) -> None:
        """Wait until a check fails for a reason."""
        await self.until(lambda: self._says(name, reason))

    async def is_content(self) -> bool:
        """Tell whether every check is."""
        return not await failing(self.port)

    async def _says(self, name: str, reason: str) -> bool:
        return re.search(reason, (await failing(self.port)).get(name, "")) is not None

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log with this event name."""
        lines = (self.folder / "ingest.log").read_text().splitlines()
        found = [msgspec.json.decode(line) for line in lines if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def launches(self) -> set[str]:
        """Return the signatures of all launches so far."""
        return {launch["signature"] for launch in self.node.export()["launches"] if launch["venue"] in FOLLOWED}

    async def announced(self) -> set[str]:
        """Return the signatures of the launches that are in the stream."""
        async with Redis.from_url(self.world.valkey.url) as client:
            entries: Any = await client.xrange(STREAM)
        told = [msgspec.json.decode(members[b"json"]) for _, members in entries if members[b"fact"] == b"launch"]
        return {fact["signature"] for fact in told}


@pytest.fixture(scope="module")
def breakable() -> Iterator[Server]:
    """A database server on TCP with a migrated template, which may be stopped."""
    with servers.start() as server, asyncio.Runner() as loop:
        loop.run(_prepare(server))
        yield server


async def _prepare(server: Server) -> None:
    await server.execute(f"CREATE ROLE {servers.ROLE} LOGIN CREATEROLE")
    await server.execute(f"CREATE DATABASE {servers.TEMPLATE} OWNER {servers.ROLE}")
    settings = {"database.url": server.url(servers.TEMPLATE, role=servers.ROLE)}
    await daemon.command(PROGRAM, settings, "migrate")


@asynccontextmanager
async def following(world: World, folder: Path, database_url: str | None = None) -> AsyncIterator[Subject]:
    """Run a daemon until the block ends, which must end well then; it has stored something already."""
    rules = Rules(start_time=int(time.time()), finalized_lag=8)
    async with Simulator(seed=11, rules=rules) as node, contextlib.AsyncExitStack() as stack:
        subject = Subject(world, node, free_port(), folder)
        settings = {
            "node.ws_url": node.ws_url,
            "node.http_url": node.http_url,
            "node.feed": "blocks",
            "fetch.rate_per_s": "2000",
            "database.url": database_url or world.database_url,
            "database.connect_timeout_s": "2",
            "database.command_timeout_s": "2",
            "redis.url": world.redis_url,
            "redis.timeout_s": "0.3",
            "metrics.listen": f"127.0.0.1:{subject.port}",
            "log.format": "json",
            "start": "now",
        }
        over = asyncio.Event()
        idling = asyncio.create_task(node.idle_until(over.is_set))
        try:
            await stack.enter_async_context(daemon.ingest(PROGRAM, folder, settings))
        finally:
            over.set()
            await idling
        await subject.trade()
        await subject.has_all()
        yield subject


async def ends_well(subject: Subject) -> None:
    """Go on with a mended world: everything is stored once, nothing was even a hole, and the daemon is content."""
    await subject.trade()
    await subject.until(subject.is_content)
    await subject.has_all()
    assert await differences(subject.world.own_url, subject.node.export(), FOLLOWED) == []
    async with rows.connected(subject.world.own_url) as connection:
        assert await rows.holes(connection) == []
    assert len(subject.logged("metrics_served")) == 1  # it was not started again


@pytest.mark.parametrize(
    ("breakage", "reason"),
    [
        (breakages.away, "retrying, because commit: PostgreSQL does not answer"),
        (breakages.silent, "does not answer: TimeoutError"),
        (breakages.crashed, "PostgreSQL"),
        (breakages.read_only, "read-only"),
        (breakages.full_of_connections, "connection"),
        (breakages.disk_full, "disk is full"),
        (breakages.locked, "does not answer: TimeoutError|lock"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_broken_database(breakable: Server, tmp_path: Path, breakage: Any, reason: str) -> None:
    """/readyz and the log name what is wrong; the journal keeps what comes; in the end it is stored once."""
    name = f"broken_{uuid.uuid4().hex}"
    own_disk = breakage is breakages.disk_full
    async with broken.world(breakable, name, own_disk=own_disk) as world, following(world, tmp_path) as subject:
        async with breakage(world):
            await subject.trade()
            await subject.says("database", reason)
        await ends_well(subject)
        assert any(
            re.search(reason.removeprefix("retrying, because commit: "), line["error"])
            for line in subject.logged("retrying")
        )


async def test_what_passes(breakable: Server, tmp_path: Path) -> None:
    """Whatever passes by itself is waited for, whichever comes after the other."""
    async with (
        broken.world(breakable, f"broken_{uuid.uuid4().hex}") as world,
        following(world, tmp_path) as subject,
    ):
        async with world.refusing("40001"):
            for state in PASSING:
                await world.refuse(state)
                await subject.says("database", rf"\({state}\)")
        await ends_well(subject)


async def test_sessions_that_are_ended(breakable: Server, tmp_path: Path) -> None:
    """An administrator ends all sessions again and again."""
    async with (
        broken.world(breakable, f"broken_{uuid.uuid4().hex}") as world,
        following(world, tmp_path) as subject,
    ):
        for _ in range(5):
            await world.end_sessions()
            await subject.trade()
        await ends_well(subject)
        assert len(subject.logged("store_writer_ready")) > 1


@pytest.mark.parametrize("breakage", [breakages.commits_cut_before, breakages.commits_cut_after])
async def test_commits_of_unknown_outcome(breakable: Server, tmp_path: Path, breakage: Any) -> None:
    """Each COMMIT's connection breaks: what became of it is looked up, and nothing is stored twice or not at all."""
    wanted = breakage is breakages.commits_cut_after
    async with (
        broken.world(breakable, f"broken_{uuid.uuid4().hex}") as world,
        following(world, tmp_path, world.link_url) as subject,
    ):
        found: list[bool] = []

        async def is_looked_up() -> bool:
            found[:] = [line["committed"] for line in subject.logged("commit_outcome_looked_up")]
            return len(found) > before

        # A batch without facts leaves no trace, and counts as not committed: to write it again changes nothing.
        while wanted not in found:
            before = len(found)
            async with breakage(world):
                await subject.trade()
                await subject.until(is_looked_up)
            await subject.until(subject.is_content)
        await ends_well(subject)


REDIS = {
    "away": (breakages.redis_away, "Redis: "),
    "silent": (breakages.redis_silent, "Timeout"),
    "slow": (breakages.redis_slow, "Timeout"),
    "restarted with nothing in it": (breakages.redis_restarted, "Redis: "),
    "flushed": (breakages.redis_flushed, None),
    "read-only": (breakages.redis_told(("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")), "(?i)read.?only"),
    "full": (breakages.redis_told(("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")), "memory"),
    "another password": (breakages.redis_wants_password, "(?i)auth"),
}


async def test_a_broken_redis(breakable: Server, tmp_path: Path) -> None:
    """Rows are not concerned; what is not announced is told and counted, and what comes afterwards is announced."""
    async with (
        broken.world(breakable, f"broken_{uuid.uuid4().hex}") as world,
        following(world, tmp_path) as subject,
    ):
        for breakage, reason in REDIS.values():
            async with breakage(world):
                await subject.trade()
                if reason is not None:
                    await subject.says("redis", reason)
            await subject.until(subject.is_content)
            before = subject.launches()
            await subject.trade()
            later = subject.launches() - before
            await subject.until(lambda later=later: _are_told(subject, later))  # type: ignore[misc]  # a default's type
        await ends_well(subject)
        assert len(subject.logged("announcements_dropped")) >= len(REDIS) - 1


async def _are_told(subject: Subject, launches: set[str]) -> bool:
    return launches <= await subject.announced()
