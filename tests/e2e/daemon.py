"""The installed daemon as a child process, and what it commits."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

READY_S, STOP_S, COMMIT_S = 60, 60, 60


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with these settings ("section.key") and no others of the daemon's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAUNCH_MONITOR_")}
    kept.pop("NOTIFY_SOCKET", None)
    return kept | {f"LAUNCH_MONITOR_{name.upper().replace('.', '__')}": value for name, value in settings.items()}


async def command(program: Path, settings: Mapping[str, str], *arguments: str, within_s: float = STOP_S) -> str:
    """Run a command of the program from a foreign directory; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        program, *arguments, cwd="/", env=environment(settings),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(within_s):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@asynccontextmanager
async def ingest(program: Path, folder: Path, settings: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """
    Run `ingest` from its READY to SIGTERM, after which it must have ended well.

    READY comes by the service manager's socket, as systemd would hear it.
    """
    log = (folder / "ingest.log").open("w+b")
    with log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(folder / "notify"))
        notices.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            program, "ingest", cwd="/",
            env=environment({"journal.dir": str(folder / "journal"), **settings})
            | {"NOTIFY_SOCKET": str(folder / "notify")},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        ended = asyncio.create_task(process.wait())
        try:
            await _until_ready(notices, ended)
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_S):
                await ended
            log.seek(0)
            print(log.read().decode())  # noqa: T201 - pytest shows it where a test fails
    assert process.returncode == 0


async def _until_ready(notices: socket.socket, ended: asyncio.Task[int]) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(READY_S):
        while True:
            told = asyncio.create_task(loop.sock_recv(notices, 4096))
            await asyncio.wait({told, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not told.done():
                told.cancel()
                raise AssertionError(f"the daemon ended with {ended.result()}")
            if b"READY=1" in told.result():
                return


@dataclass
class Commits:
    """Tells of every batch that the daemon commits."""

    connection: asyncpg.Connection[Any]
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    async def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds."""
        return [dict(row) for row in await self.connection.fetch(query)]

    async def until(self, query: str, enough: Callable[[int], bool]) -> None:
        """Wait until a number that a query counts is enough; look after each commit."""
        async with asyncio.timeout(COMMIT_S):
            while True:
                self.happened.clear()
                if enough(await self.connection.fetchval(query)):
                    return
                await self.happened.wait()


@asynccontextmanager
async def commits(database_url: str) -> AsyncIterator[Commits]:
    """Watch a migrated database by a trigger of our own on `batches`."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("""
            CREATE FUNCTION tell_commit() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN PERFORM pg_notify('commits', ''); RETURN NULL; END $$;
            CREATE TRIGGER tell_commit AFTER INSERT ON batches FOR EACH STATEMENT EXECUTE FUNCTION tell_commit()
        """)
        watching = Commits(connection)
        await connection.add_listener("commits", lambda *_: watching.happened.set())
        yield watching
    finally:
        await connection.close()
