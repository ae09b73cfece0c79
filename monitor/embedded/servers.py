"""Both servers as one thing to start, to connect to and to stop."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
from typing import TYPE_CHECKING

import msgspec
import structlog

from monitor.embedded import account as accounts
from monitor.embedded import postgres, process, programs, settings, state, valkey
from monitor.errors import EmbeddedFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from monitor.embedded.account import Account
    from monitor.embedded.programs import Programs
    from monitor.embedded.state import Ports

log = structlog.get_logger(__name__)

_STARTS_TRIED = 5


class Addresses(msgspec.Struct, frozen=True):
    """Where the servers listen (with the password), and the shell lines (without it) that connect a human."""

    database_url: str
    redis_url: str
    connect_lines: tuple[str, ...]


class Servers:
    """Both servers, running."""

    def __init__(self, addresses: Addresses, running: tuple[process.Server, ...]) -> None:
        self.addresses = addresses
        self._running = running

    @property
    def database_url(self) -> str:
        """Return the address of PostgreSQL."""
        return self.addresses.database_url

    @property
    def redis_url(self) -> str:
        """Return the address of Valkey."""
        return self.addresses.redis_url

    @property
    def connect_lines(self) -> tuple[str, ...]:
        """Return the psql and redis-cli lines for people; they name files that hold the password, not the password."""
        return self.addresses.connect_lines

    async def keep(self) -> None:
        """
        Start a server that dies again; belongs into the daemon's task group and runs until cancelled.

        Raises:
            EmbeddedFailed: If one does not come back.
        """
        async with asyncio.TaskGroup() as group:
            for server in self._running:
                group.create_task(server.keep())


@contextlib.asynccontextmanager
async def start(state_dir: Path) -> AsyncIterator[Servers]:
    """
    Run PostgreSQL and Valkey below `state_dir` for as long as the context lasts.

    Data of an earlier start is found again; servers that a killed daemon left running are stopped first.

    Raises:
        AlreadyRunning: If another daemon uses the directory.
        ConfigError: If the wheels are missing, or the directory or its data cannot be used as they are.
        EmbeddedFailed: If a server does not start.
    """
    account = accounts.current()
    installed = programs.find()
    folder = state.prepare(state_dir, account)
    with state.locked(folder):
        found = await asyncio.to_thread(programs.within_reach, installed, account, folder)
        await _make_ready(found, account, folder)
        async with contextlib.AsyncExitStack() as stack:
            ports, running = await _started(stack, found, account, folder)
            addresses = _addresses(folder, ports, found)
            await postgres.create_database(addresses.database_url)
            _publish(folder, ports, addresses)
            stack.callback((folder / "addresses.json").unlink, missing_ok=True)
            yield Servers(addresses, running)


def addresses(state_dir: Path) -> Addresses | None:
    """Return where the servers of a running daemon listen, for its companions; None if none left word there."""
    try:
        return msgspec.json.decode((state_dir / "addresses.json").read_bytes(), type=Addresses)
    except (OSError, msgspec.DecodeError):
        return None


async def _make_ready(found: Programs, account: Account, folder: Path) -> None:
    await postgres.check_program(found.postgres_bin, account, folder)
    data = await postgres.prepare_data(found.postgres_bin, account, folder)
    home = valkey.prepare_home(account, folder)
    for left_over, stops in ((data, postgres.STOPS), (home, valkey.STOPS)):
        if await process.end(left_over, stops):
            log.warning("embedded_survivor_stopped", folder=str(left_over))
    postgres.forget_pid(data)


async def _started(
    stack: contextlib.AsyncExitStack, found: Programs, account: Account, folder: Path
) -> tuple[Ports, tuple[process.Server, ...]]:
    """Start both; again on other ports if somebody took one between the look and the start."""
    for attempt in range(1, _STARTS_TRIED + 1):
        ports = state.choose_ports(folder)
        running = (
            process.Server(postgres.recipe(found.postgres_bin, account, folder, port=ports.postgres)),
            process.Server(valkey.recipe(found.valkey_server, account, folder, port=ports.valkey)),
        )
        async with contextlib.AsyncExitStack() as started:
            try:
                for server in running:
                    started.push_async_callback(server.stop)
                    await server.start()
            except EmbeddedFailed:
                taken = not (state.is_free(ports.postgres) and state.is_free(ports.valkey))
                if attempt == _STARTS_TRIED or not taken:
                    raise
                log.warning("embedded_port_taken", ports=ports)
                continue
            stack.push_async_exit(started.pop_all())
            return ports, running
    raise AssertionError("the last attempt returns or raises")


def _addresses(folder: Path, ports: Ports, found: Programs) -> Addresses:
    password = state.password(folder)
    return Addresses(
        database_url=settings.database_url(port=ports.postgres, password=password),
        redis_url=settings.redis_url(port=ports.valkey, password=password),
        connect_lines=_connect_lines(folder, ports, found),
    )


def _connect_lines(folder: Path, ports: Ports, found: Programs) -> tuple[str, str]:
    psql = shlex.quote(shutil.which("psql") or str(found.postgres_bin / "psql"))
    redis_cli = shlex.quote(shutil.which("valkey-cli") or shutil.which("redis-cli") or "redis-cli")
    pgpass, password = (shlex.quote(str(folder / name)) for name in ("pgpass", "password"))
    return (
        f"PGPASSFILE={pgpass} {psql} -h {settings.HOST} -p {ports.postgres} -U {settings.ROLE} {settings.DATABASE}",
        f'REDISCLI_AUTH="$(cat {password})" {redis_cli} -h {settings.HOST} -p {ports.valkey}',
    )


def _publish(folder: Path, ports: Ports, addresses: Addresses) -> None:
    state.write(folder / "pgpass", settings.pgpass(port=ports.postgres, password=state.password(folder)))
    state.write(folder / "addresses.json", msgspec.json.encode(addresses).decode())
    lines = (*addresses.connect_lines, "", addresses.database_url, addresses.redis_url)
    state.write(folder / "connect.txt", "\n".join(lines) + "\n")
