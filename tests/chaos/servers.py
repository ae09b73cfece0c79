"""A PostgreSQL that listens on loopback and can be restarted, with a migrated database to make others from."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from tests import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

ROLE = "chaos"
TEMPLATE = "migrated"
_PATIENCE_S = 30.0


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. The daemon's role is no superuser: limits hold for it."""

    port: int
    control: tuple[str, ...]
    options: str

    def url(self, database: str, *, role: str = "postgres", port: int | None = None) -> str:
        """Return an address on loopback."""
        return f"postgresql://{role}@127.0.0.1:{port or self.port}/{database}?sslmode=disable"

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as superuser, each in a transaction of its own."""
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[str]:
        """Make a migrated database; it is dropped afterwards."""
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {ROLE} STRATEGY FILE_COPY")
        try:
            yield name
        finally:
            await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def restart(self, down_s: float) -> None:
        """Crash it, and start it again after a while."""
        await asyncio.to_thread(postgres._run, [*self.control, "-m", "immediate", "stop"])
        await asyncio.sleep(down_s)
        await asyncio.to_thread(postgres._run, [*self.control, "-o", self.options, "start"])

    async def answers(self) -> None:
        """Return once it answers."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                with contextlib.suppress(OSError, asyncpg.PostgresError):
                    await self.execute("SELECT 1")
                    return
                await asyncio.sleep(0.05)


@contextmanager
def start() -> Iterator[Server]:
    """Run a server until the block ends."""
    programs = postgres._programs(postgres.default_version())
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        as_user = postgres._unprivileged(folder)
        programs = postgres._within_reach(programs, folder)
        data, port = folder / "data", free_port()
        postgres._run(_initdb(as_user, programs, data))
        options = (
            f"-c listen_addresses=127.0.0.1 -k {folder} -p {port} -c fsync=off -c max_connections=60"
            " -c shared_buffers=64MB -c autovacuum_naptime=10s"
        )
        control = (*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", "60", "-l", str(folder / "log"))
        postgres._run([*control, "-o", options, "start"])
        try:
            yield Server(port, control, options)
        finally:
            postgres._run([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder)


def _initdb(as_user: Sequence[str], programs: Path, data: Path) -> list[str]:
    return [*as_user, str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"]
