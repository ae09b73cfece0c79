"""Databases that the benchmarks fill: on a server of their own with fsync on, or on one that is named."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import structlog
import uvloop

from monitor.store.partitions import Partitions
from monitor.store.store import Store
from tests import postgres

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
    from datetime import datetime

    from monitor.store.rows import Row

T = TypeVar("T")
MIB = 1 << 20
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_NOW = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
_EXTENSION = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"
_PRELOADED = "SELECT current_setting('shared_preload_libraries') LIKE '%timescaledb%'"
_PLACE = """
SELECT COALESCE((SELECT 'TimescaleDB ' || extversion || ' (' || current_setting('timescaledb.license') || ')'
                   FROM pg_extension WHERE extname = 'timescaledb'), 'no extension'),
       current_setting('server_version'), current_setting('fsync')
"""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run something on the daemon's own kind of event loop, and hear of what goes wrong alone."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def option(parser: argparse.ArgumentParser) -> None:
    """Let the command line name a server."""
    parser.add_argument("--url", help="a server to use, with a superuser (default: one of its own, from the wheel)")


@contextlib.contextmanager
def server(url: str | None = None) -> Iterator[postgres.Server]:
    """Run a server until the block ends, or yield the one at `url`."""
    if url is not None:
        yield postgres.Server(url)
        return
    with postgres.start(fsync=True) as own:
        yield own


@asynccontextmanager
async def migrated(where: postgres.Server) -> AsyncIterator[str]:
    """Yield the URL of a fresh database with our schema, of the best edition that the server offers."""
    async with where.database() as url:
        async with connected(url) as connection:
            if await connection.fetchval(_EXTENSION) and await connection.fetchval(_PRELOADED):
                await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        async with await Store.open(url) as store:
            await store.migrate()
        yield url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Yield a connection for work that may take its time."""
    connection = await asyncpg.connect(url, command_timeout=7_200, server_settings={"timezone": "UTC"})
    try:
        yield connection
    finally:
        await connection.close()


async def told(connection: asyncpg.Connection[Any], *, needs_fsync: bool = True) -> str:
    """
    Return what server this is.

    Raises:
        RuntimeError: If its commits do not reach the disk: then nothing measured here means anything.
    """
    extension, version, fsync = await connection.fetchrow(_PLACE)
    if needs_fsync and fsync != "on":
        raise RuntimeError("fsync is off on this server")
    return f"PostgreSQL {version.split(' ')[0]}, {extension}, fsync {fsync}"


async def make_room(connection: asyncpg.Connection[Any], times: Sequence[datetime]) -> None:
    """Make the partitions that rows of those times need, where the server does not."""
    if await connection.fetchval("SELECT relkind = 'p' FROM pg_class WHERE oid = 'transactions'::regclass"):
        await Partitions().ensure(connection, times)


async def copy(connection: asyncpg.Connection[Any], rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Write rows as raw COPY does, in a transaction of their own."""
    await connection.copy_records_to_table("transactions", records=rows, columns=columns)


def forget_peak() -> int:
    """Count the process's peak memory from now on, and return what it takes now (bytes)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _bytes(_NOW, "self")


def peak_bytes(pid: int | str = "self") -> int:
    """Return the most memory (RSS) that a process took, since it began or since its peak was forgotten."""
    return _bytes(_PEAK, pid)


def _bytes(pattern: re.Pattern[str], pid: int | str) -> int:
    found = pattern.search(Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
