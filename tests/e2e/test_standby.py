"""Two installed daemons on one database: one writes, and when it is gone the other does; nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from simulator.chain import Rules
from simulator.run import Simulator
from tests.chaos import judge
from tests.e2e import daemon, rows
from tests.e2e.readiness import failing, names
from tests.e2e.truth import differences
from tests.e2e.watching import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

pytestmark = [pytest.mark.ci, pytest.mark.slow]

FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
TRANSACTIONS = 200
PATIENCE_S = 60
LOOK_S = 0.1
# It looks every two seconds, and this machine may be busy.
TAKEOVER_S = 20
_END_WRITER = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'launch-monitor write'"


@dataclass
class One:
    """A daemon of its own folder; `process` is its present life."""

    program: Path
    folder: Path
    settings: dict[str, str]
    port: int
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> asyncio.subprocess.Process:
        """Start it (again)."""
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.program, "ingest", cwd="/", env=daemon.environment(self.settings),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return self.process

    async def ended(self, number: signal.Signals | None = None) -> int:
        """Send it a signal (None: none), and return how it ended."""
        assert self.process is not None
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    async def writes(self) -> bool:
        """Tell whether it is ready, and the writer."""
        return await self._is("database")

    async def stands_by(self) -> bool:
        """Tell whether it is ready, and stands by."""
        return await self._is("standby")

    async def _is(self, role: str) -> bool:
        with contextlib.suppress(OSError):
            return role in await names(self.port) and not await failing(self.port)
        return False

    @property
    def log(self) -> str:
        """Return what it has said in all its lives."""
        return (self.folder / "log").read_text()


@dataclass
class Pair:
    """Two daemons, a node and a database."""

    node: Simulator
    url: str
    first: One
    second: One

    async def trade(self) -> None:
        """Let some transactions happen."""
        await self.node.run_for(transactions=TRANSACTIONS)

    async def until(self, is_so: Callable[[], Awaitable[bool]], transactions: int = 0) -> float:
        """Wait until something is so; return how long it took (s)."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            while not await is_so():
                await self.node.run_for(transactions=transactions)
                await self.node.idle_until(iter((False, True)).__next__)
        return time.monotonic() - began

    async def equals_the_ledger(self) -> None:
        """Wait until the database says that it holds everything, and compare it."""
        slot = self.node.chain.slot
        await self.until(lambda: judge.is_settled(self.url, slot))
        assert await differences(self.url, self.node.export(), FOLLOWED) == []


@asynccontextmanager
async def pair(program: Path, url: str, folder: Path, *, standby: bool = True) -> AsyncIterator[Pair]:
    """Yield two daemons, of which the first has stored something; whoever runs at the end must end well."""
    rules = Rules(start_time=int(time.time()), finalized_lag=8)
    async with Simulator(seed=12, rules=rules) as node:
        both = [_one(program, url, folder / name, node, standby=standby) for name in ("first", "second")]
        await daemon.command(program, both[0].settings, "migrate")
        found = Pair(node, url, *both)
        try:
            await found.first.start()
            await found.until(lambda: judge.has_begun(url))
            await found.trade()
            await found.until(found.first.writes, 5)
            yield found
            assert {await one.ended(signal.SIGTERM) for one in both if _runs(one)} == {0}
        finally:
            for one in filter(_runs, both):
                await one.ended(signal.SIGKILL)
            for one in both:
                print(one.log if one.process else "never started")  # noqa: T201 - pytest shows it where a test fails


def _runs(one: One) -> bool:
    return one.process is not None and one.process.returncode is None


def _one(program: Path, url: str, folder: Path, node: Simulator, *, standby: bool) -> One:
    folder.mkdir()
    port = free_port()
    settings = {
        "node.ws_url": node.ws_url,
        "node.http_url": node.http_url,
        "node.feed": "blocks",
        "fetch.rate_per_s": "2000",
        "database.url": url,
        "journal.dir": str(folder / "journal"),
        "metrics.listen": f"127.0.0.1:{port}",
        "standby": str(standby).lower(),
    }
    return One(program, folder, settings, port)


async def test_takeover(program: Path, database_url: str, tmp_path: Path) -> None:
    """
    The writer is killed while transactions flow: the standby writes within seconds, without a hole.

    What was killed comes back as the standby, and takes over in its turn when the writer is stopped.
    """
    async with pair(program, database_url, tmp_path) as two:
        await two.second.start()
        await two.until(two.second.stands_by, 5)
        await two.trade()
        killing = asyncio.create_task(two.trade())
        await asyncio.sleep(0)
        assert await two.first.ended(signal.SIGKILL) == -signal.SIGKILL
        await killing
        assert await two.until(two.second.writes, 5) < TAKEOVER_S
        await two.equals_the_ledger()
        await two.first.start()
        await two.until(two.first.stands_by, 5)
        await two.trade()
        assert await two.second.ended(signal.SIGTERM) == 0
        assert await two.until(two.first.writes, 5) < TAKEOVER_S
        await two.trade()
        await two.equals_the_ledger()
        async with rows.connected(database_url) as connection:
            assert await rows.holes(connection) == []


async def test_a_writer_that_hangs_and_wakes(program: Path, database_url: str, tmp_path: Path) -> None:
    """
    While it hangs its session is ended, and the standby takes over; awake again it writes nothing, and ends with 75.

    Started again it stands by.
    """
    async with pair(program, database_url, tmp_path) as two:
        await two.second.start()
        await two.until(two.second.stands_by, 5)
        assert two.first.process is not None
        two.first.process.send_signal(signal.SIGSTOP)
        async with rows.connected(database_url) as connection:
            await connection.execute(_END_WRITER)
        # The node waits for clients that do not read: what it tells meanwhile is told beside it.
        telling = asyncio.create_task(two.trade())
        async with asyncio.timeout(PATIENCE_S):
            while not await two.second.writes():  # noqa: ASYNC110 - another process becomes so
                await asyncio.sleep(LOOK_S)
        two.first.process.send_signal(signal.SIGCONT)
        await telling
        await two.trade()
        assert await two.first.ended() == 75
        assert "another process" in two.first.log
        await two.first.start()
        await two.until(two.first.stands_by, 5)
        await two.equals_the_ledger()


async def test_a_second_writer_is_refused(program: Path, database_url: str, tmp_path: Path) -> None:
    """Without `standby` it ends with 75 and names who writes; the first goes on."""
    async with pair(program, database_url, tmp_path, standby=False) as two:
        await two.second.start()
        assert await two.second.ended() == 75
        assert "writes to this database" in two.second.log
        await two.trade()
        await two.equals_the_ledger()
