"""The schema of the last release is brought forward with data in it, under load, and cut short wherever that can be."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from simulator.chain import Rules
from simulator.run import Simulator
from tests.chaos import judge
from tests.e2e import daemon, release
from tests.e2e.rows import connected
from tests.e2e.truth import differences

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import asyncpg

    from tests import postgres

pytestmark = [pytest.mark.slow]

# The environment's own script: what these tests try is not the wheel.
PROGRAM = Path(sys.executable).with_name("launch-monitor")
FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
RATE = 40
PATIENCE_S = 90
LOOK_S = 0.02
FOREIGN_SCHEMA = 78

HOLDS = {
    "at the first statement": "LOCK TABLE transactions IN ACCESS SHARE MODE",
    "before its tables are ours": "LOCK TABLE batches IN ACCESS SHARE MODE",
    "in the middle of a step": "CREATE TABLE requests ()",
    "in the middle of the next": "LOCK TABLE pools IN ROW EXCLUSIVE MODE",
    "somewhere": "",
}
"""What holds a migration up until it is killed there, in the order of its statements."""

READ = (
    "SELECT * FROM recent_trades LIMIT 50",
    "SELECT * FROM recent_launches LIMIT 50",
    "SELECT * FROM graduations LIMIT 50",
    "SELECT * FROM pool_prices LIMIT 50",
    "SELECT venue, count(*), sum(quote_amount) FROM transactions GROUP BY venue",
    "SELECT mint, launched_at FROM tokens ORDER BY launched_at DESC NULLS LAST LIMIT 50",
    "SELECT count(*) FROM holes WHERE filled_at IS NULL",
)
"""What consumers of the last release ask."""

_MIGRATING = "FROM pg_stat_activity WHERE application_name = 'launch-monitor migrate' AND datname = current_database()"
_APPLIED = "SELECT coalesce(array_agg(number ORDER BY number), '{}') FROM schema_migrations"
# Of each step: something that its first statements make, and something that its last ones do.
_MADE = """
SELECT array[to_regclass('journals') IS NOT NULL, to_regclass('requests') IS NOT NULL] AS "6",
       array[to_regclass('transactions_slot') IS NOT NULL, to_regclass('faults_slot') IS NOT NULL] AS "7"
"""


@dataclass
class Upgrade:
    """A database in use, a chain that goes on, and whoever works on it."""

    url: str
    folder: Path
    node: Simulator
    settings: dict[str, str]
    running: list[asyncio.subprocess.Process] = field(default_factory=list)
    reads: int = 0

    async def start(self, program: Path, command: str) -> asyncio.subprocess.Process:
        """Start a command of a program."""
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                program, command, cwd="/", env=daemon.environment(self.settings),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.running.append(process)
        return process

    async def until(self, is_so: Callable[[], Awaitable[object]]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not await is_so():  # noqa: ASYNC110 - another process makes it so
                await asyncio.sleep(LOOK_S)

    async def stores(self, more: int) -> None:
        """Wait until so many trades more are stored."""
        async with connected(self.url) as sql:
            count = await sql.fetchval("SELECT count(*) FROM transactions")
            await self.until(lambda: _is_at_least(sql, count + more))

    async def read(self) -> None:
        """Ask what consumers ask, for ever."""
        async with connected(self.url) as sql:
            while True:
                for query in READ:
                    await sql.fetch(query)
                    self.reads += 1

    async def cut_short(self, hold: str, rng: random.Random) -> None:
        """Kill a migration where something holds it up, or (hold "") at a moment of chance; nothing is half-done."""
        async with connected(self.url) as holder, connected(self.url) as sql:
            if hold:
                await holder.execute(f"BEGIN; {hold}")
            migrating = await self.start(PROGRAM, "migrate")
            waits = " AND wait_event_type = 'Lock'" if hold else ""
            await self.until(lambda: _is_there_or_over(sql, migrating, waits))
            assert migrating.returncode is None or not hold, "nothing held the migration up"
            await asyncio.sleep(0 if hold else rng.uniform(0, 0.1))
            if migrating.returncode is None:
                migrating.kill()
            await migrating.wait()
            await holder.execute("ROLLBACK" if hold else "SELECT 1")
            await self.until(lambda: sql.fetchval(f"SELECT count(*) = 0 {_MIGRATING}"))
            await _check_whole_steps(sql)


async def _is_at_least(sql: asyncpg.Connection[asyncpg.Record], count: int) -> bool:
    return bool(await sql.fetchval("SELECT count(*) >= $1 FROM transactions", count))


async def _is_there_or_over(
    sql: asyncpg.Connection[asyncpg.Record], migrating: asyncio.subprocess.Process, waits: str
) -> bool:
    return migrating.returncode is not None or bool(await sql.fetchval(f"SELECT count(*) > 0 {_MIGRATING}{waits}"))


async def _check_whole_steps(sql: asyncpg.Connection[asyncpg.Record]) -> None:
    applied = await sql.fetchval(_APPLIED)
    for step, made in dict(await sql.fetchrow(_MADE) or {}).items():
        assert made == [int(step) in applied] * 2, f"step {step} is half-done: {applied}, {made}"


@asynccontextmanager
async def upgrade(url: str, folder: Path, seed: int) -> AsyncIterator[Upgrade]:
    """Yield a chain that goes on and a database to be used; whatever was started is gone in the end."""
    async with Simulator(seed=seed, rate=RATE, rules=Rules(start_time=int(time.time()), finalized_lag=8)) as node:
        settings = {
            "database.url": url, "metrics.listen": "", "node.ws_url": node.ws_url, "node.http_url": node.http_url,
            "fetch.rate_per_s": "2000", "fetch.concurrency": "16",
        }  # fmt: skip
        it = Upgrade(url, folder, node, settings)
        try:
            yield it
        finally:
            for process in it.running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            print((folder / "log").read_text())  # noqa: T201 - pytest shows it where a test fails


@asynccontextmanager
async def trading(it: Upgrade) -> AsyncIterator[None]:
    """Let the chain go on while the block runs, and consumers read; then wait until all of it is stored for good."""
    done = asyncio.Event()
    making = asyncio.create_task(it.node.run_until(done.is_set))
    reading = [asyncio.create_task(it.read()) for _ in range(2)]
    try:
        yield
        done.set()
        await making
        for ended in (task for task in reading if task.done()):
            ended.result()
    finally:
        for task in (making, *reading):
            task.cancel()
        await asyncio.wait({making, *reading})


async def before(it: Upgrade, server: postgres.Server, program: Path | None) -> asyncio.subprocess.Process | None:
    """
    Let the last release's program follow the chain into the database; return it running.

    Without one (None) this one follows into another database, whose rows are copied, and nothing runs.
    """
    if program is not None:
        await daemon.command(program, it.settings, "migrate")
        return await _follow(it, program, it.url)
    await release.make_schema(it.url, it.folder / "steps")
    async with server.database() as other_url:
        it.settings |= {"database.url": other_url, "journal.enabled": "false"}
        await daemon.command(PROGRAM, it.settings, "migrate")
        process = await _follow(it, PROGRAM, other_url)
        process.terminate()
        assert await process.wait() == 0
        await release.copy_rows(other_url, it.url)
    it.settings |= {"database.url": it.url}
    return None


async def _follow(it: Upgrade, program: Path, url: str) -> asyncio.subprocess.Process:
    """Start to follow the chain before anything happens in it, and let something happen."""
    process = await it.start(program, "ingest")
    begun = asyncio.Event()
    quiet = asyncio.create_task(it.node.idle_until(begun.is_set))
    await it.until(lambda: judge.has_begun(url))
    begun.set()
    await quiet
    await it.node.run_for(transactions=RATE * 10)
    async with connected(url) as sql:
        await it.until(lambda: _is_at_least(sql, 100))
    return process


@pytest.mark.parametrize(("seed", "has_program"), [(1, True), (2, False), (3, True)])
async def test_an_upgrade_under_load(
    server: postgres.Server, database_url: str, tmp_path: Path, seed: int, *, has_program: bool
) -> None:
    """
    What both releases wrote is what happened, wherever the migration and the daemon are killed.

    Consumers' queries go on, no step is half-done, two migrations at once do no harm, and a daemon of the last release
    ends rather than write into a schema that is not its own. (A checkout without history has no program of it: its rows
    are what this one writes, then, as far as it had the columns.)
    """
    rng = random.Random(seed)
    async with upgrade(database_url, tmp_path, seed) as it:
        old = await before(it, server, release.program(tmp_path) if has_program else None)
        it.settings["journal.dir"] = str(tmp_path / "journal")
        async with trading(it):
            for hold in HOLDS.values():
                if not hold or rng.random() < 0.7:
                    await it.cut_short(hold, rng)
            await asyncio.gather(*(daemon.command(PROGRAM, it.settings, "migrate") for _ in range(2)))
            if old is not None:
                async with asyncio.timeout(PATIENCE_S):
                    assert await old.wait() == FOREIGN_SCHEMA
            new = await it.start(PROGRAM, "ingest")
            await it.stores(100)
            await asyncio.sleep(rng.uniform(0, 1))
            new.kill()
            await new.wait()
            new = await it.start(PROGRAM, "ingest")
            await it.stores(100)
        assert it.reads > len(READ)
        slot = it.node.chain.slot
        settled = asyncio.Event()
        quiet = asyncio.create_task(it.node.idle_until(settled.is_set))
        await it.until(lambda: judge.is_settled(database_url, slot))
        settled.set()
        await quiet
        new.send_signal(signal.SIGTERM)
        assert await new.wait() == 0
        assert await differences(database_url, it.node.export(), FOLLOWED) == []
