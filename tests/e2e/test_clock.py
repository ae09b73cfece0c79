"""The system's clock jumps by hours: what is stored does not depend on it, and the daemon neither hangs nor ends."""

from __future__ import annotations

import ast
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import monitor
from simulator.chain import Rules
from simulator.run import Simulator
from tests.chaos import judge
from tests.e2e import daemon, rows
from tests.e2e.readiness import failing
from tests.e2e.truth import differences
from tests.e2e.watching import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    import asyncpg

    from tests import postgres

FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
PROGRAM = Path(sys.executable).with_name("launch-monitor")
HOUR_S = 3_600
PATIENCE_S = 60
# What Python runs before anything else of a child: its clocks that can be set are off by what a file says.
SITE = """
import datetime, pathlib, time
OFFSET = pathlib.Path({path!r})
real_s, real = time.time, datetime.datetime

def off():
    return float(OFFSET.read_text())

class Shifted(real):
    @classmethod
    def now(cls, tz=None):
        return real.fromtimestamp(real_s() + off(), tz)

time.time = lambda: real_s() + off()
time.time_ns = lambda: int((real_s() + off()) * 1e9)
datetime.datetime = Shifted
"""
READERS = {
    "cli/export.py",  # a range that people name by its age
    "cli/status.py",  # how old a hole is, for people
    "health/health.py",  # lag, for people
    "health/holes.py",  # when the database was looked at, for people
    "metrics/meters.py",  # lag and ages, for people
    "sources/client.py",  # a date in Retry-After, bounded
    "sources/connection.py",  # the same
    "sources/recorder.py",  # the header of a recording
}


def test_who_reads_the_time_of_day() -> None:
    """Nothing that is stored, and no wait: lags, ages, and dates that the other side named."""
    root = Path(monitor.__file__).parent
    readers = {str(path.relative_to(root)) for path in root.rglob("*.py") if _reads_time_of_day(path)}
    assert readers <= READERS


def _reads_time_of_day(path: Path) -> bool:
    called = [ast.unparse(found) for found in ast.walk(ast.parse(path.read_text())) if isinstance(found, ast.Attribute)]
    return any(name in {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow"} for name in called)


@pytest.mark.slow
async def test_jumps(server: postgres.Server, tmp_path: Path) -> None:
    """Hours ahead and hours back while transactions flow: all is stored, at the chain's times; only lag is off."""
    (tmp_path / "site").mkdir()
    offset, port = tmp_path / "offset", free_port()
    _set(offset, 0)
    (tmp_path / "site/sitecustomize.py").write_text(SITE.format(path=str(offset)))
    now = int(time.time())
    async with server.database() as url, Simulator(seed=13, rules=Rules(start_time=now, finalized_lag=8)) as node:
        settings = {
            "node.ws_url": node.ws_url,
            "node.http_url": node.http_url,
            "node.feed": "blocks",
            "fetch.rate_per_s": "2000",
            "database.url": url,
            "metrics.listen": f"127.0.0.1:{port}",
        }
        await daemon.command(PROGRAM, settings, "migrate")
        over = asyncio.Event()
        idling = asyncio.create_task(node.idle_until(over.is_set))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
            following = daemon.ingest(PROGRAM, tmp_path, settings)
            await following.__aenter__()
        try:
            over.set()
            await idling
            for hours in (5, -5, 48, 0):
                _set(offset, hours * HOUR_S)
                await node.run_for(transactions=150)
                slot = node.chain.slot
                await until(node, lambda slot=slot: judge.is_settled(url, slot))  # type: ignore[misc]  # a default's type
                assert set(await failing(port)) == ({"lag"} if hours > 0 else set())
            assert await differences(url, node.export(), FOLLOWED) == []
            async with rows.connected(url) as connection:
                assert await rows.holes(connection) == []
                assert await _days_ahead(connection, now) <= 3
        finally:
            await following.__aexit__(None, None, None)


def _set(offset: Path, seconds: int) -> None:
    """Set the offset at once: the daemon reads it at any time, and must never find it empty."""
    fresh = offset.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(offset)


async def until(node: Simulator, is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so; slots are empty meanwhile."""
    async with asyncio.timeout(PATIENCE_S):
        while not await is_so():
            await node.idle_until(iter((False, True)).__next__)


async def _days_ahead(connection: asyncpg.Connection[Any], now_s: int) -> int:
    """Return for how many days behind today there are partitions (those of the plain edition)."""
    names = await connection.fetch("SELECT relname FROM pg_class WHERE relname ~ '^transactions_p[0-9]{8}$'")
    newest = max((name["relname"][-8:] for name in names), default=time.strftime("%Y%m%d", time.gmtime(now_s)))
    newest_s = time.mktime(time.strptime(newest, "%Y%m%d")) - time.timezone
    return int((newest_s - now_s) // (24 * HOUR_S)) + 1
