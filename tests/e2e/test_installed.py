"""The wheel, installed into an environment of its own and started from a foreign directory, does the main job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor import embedded
from monitor.embedded import process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FIRST_ROWS_S = 60

pytestmark = [pytest.mark.ci, pytest.mark.slow]


def test_the_version_is_told_from_any_directory(program: Path) -> None:
    """No part of the repository is needed."""
    told = subprocess.run([program, "version"], cwd="/", check=True, capture_output=True, text=True)
    assert "0.1.0" in told.stdout


@contextlib.asynccontextmanager
async def run(program: Path, state_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the daemon with nothing configured but where its data goes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAUNCH_MONITOR_")}
    environment |= {
        "LAUNCH_MONITOR_EMBEDDED__STATE_DIR": str(state_dir),
        "LAUNCH_MONITOR_METRICS__LISTEN": "127.0.0.1:0",
    }
    daemon = await asyncio.create_subprocess_exec(
        program, "run", cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=None
    )
    try:
        yield daemon
    finally:
        with contextlib.suppress(ProcessLookupError):
            daemon.send_signal(signal.SIGINT)
        async with asyncio.timeout(90):
            await daemon.communicate()


async def count(state_dir: Path, table: str) -> int:
    """Return the rows of a table, 0 as long as there is no server or table to ask."""
    addresses = await asyncio.to_thread(embedded.addresses, state_dir)
    if addresses is None:
        return 0
    try:
        connection = await asyncpg.connect(addresses.database_url, timeout=5)
    except (OSError, asyncpg.PostgresError):
        return 0
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    except asyncpg.UndefinedTableError:
        return 0
    finally:
        await connection.close()


async def grows(daemon: asyncio.subprocess.Process, state_dir: Path, table: str, beyond: int = 0) -> int:
    """Return the number of rows as soon as it is larger; asks whenever the daemon prints a line."""
    assert daemon.stdout is not None
    async for _ in daemon.stdout:
        if (rows := await count(state_dir, table)) > beyond:
            return rows
    pytest.fail("the daemon ended")


async def test_with_nothing_configured_rows_arrive_within_a_minute_and_keep_arriving(
    program: Path, state_dir: Path
) -> None:
    """The newcomer's first minute: a simulator, embedded servers, launches printed, tables that grow, a clean end."""
    # Simulated rows never stand beside real ones: they have a folder of their own.
    simulated = state_dir.with_name(f"{state_dir.name}-simulated")
    async with run(program, state_dir) as daemon:
        async with asyncio.timeout(FIRST_ROWS_S):
            tokens = await grows(daemon, simulated, "tokens")
            trades = await grows(daemon, simulated, "transactions")
            await grows(daemon, simulated, "tokens", tokens)
            await grows(daemon, simulated, "transactions", trades)
    assert daemon.returncode == 0
    assert process.processes_in(simulated / "postgres" / "data") == []
