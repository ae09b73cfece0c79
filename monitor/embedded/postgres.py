"""PostgreSQL: its data directory, and how to start it, ask it and stop it."""

from __future__ import annotations

import contextlib
import shutil
import signal
from typing import TYPE_CHECKING

import asyncpg

from monitor.embedded import account as accounts
from monitor.embedded import process, programs, settings, state
from monitor.errors import ConfigError, EmbeddedFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from monitor.embedded.account import Account

# Fast (clients are cut off, everything is written), then immediate (recovery at the next start), then by force.
STOPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
# Short, since a stranger that holds the port may never answer; a refused or late answer is asked for again.
_ANSWER_TIMEOUT_S = 1.0
_CONNECT_TIMEOUT_S = 30.0


async def check_program(postgres_bin: Path, account: Account, folder: Path) -> None:
    """
    Make sure that the program runs here and is of the expected major version.

    Raises:
        ConfigError: If not.
    """
    arguments = account.command([str(postgres_bin / "postgres"), "--version"])
    try:
        version = await process.run(arguments, folder=folder)
    except EmbeddedFailed as error:
        mend = "install what is missing, or configure database.url"
        raise ConfigError(f"PostgreSQL of the embedded servers does not run here: {error}", mend=mend) from error
    if f" {programs.POSTGRES_MAJOR}." not in version:
        raise ConfigError(f"expected PostgreSQL {programs.POSTGRES_MAJOR}, found {version}")


async def prepare_data(postgres_bin: Path, account: Account, folder: Path) -> Path:
    """
    Return the data directory, made if need be; a half-made one of an interrupted start is made again.

    Raises:
        ConfigError: If there is one, of another major version or another owner.
        EmbeddedFailed: If it cannot be made.
    """
    home = folder / "postgres"
    if not home.exists():
        await _initialise(postgres_bin, account, folder, home)
    check_data(home / "data", account)
    return home / "data"


def check_data(data: Path, account: Account) -> None:
    """
    Refuse a data directory that this PostgreSQL would refuse too, but say why and what to do.

    Raises:
        ConfigError: If it is of another major version, or of another owner.
    """
    owner = data.stat().st_uid
    if owner != account.uid:
        raise ConfigError(
            f"{data} belongs to uid {owner}, the server runs as uid {account.uid}",
            mend="start launch-monitor as the user who made it, or set embedded.state_dir to another folder",
        )
    major = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    if major != str(programs.POSTGRES_MAJOR):
        raise ConfigError(
            f"{data} was written by PostgreSQL {major}, this is {programs.POSTGRES_MAJOR}",
            mend=f"dump it with PostgreSQL {major} and load the dump here, or move the folder away",
        )


async def _initialise(postgres_bin: Path, account: Account, folder: Path, home: Path) -> None:
    """Make everything under another name first, so that `home` is either whole or not there."""
    draft = folder / "postgres.new"
    uid = accounts.named_uid(account)
    for orphaned in (draft, draft / "data"):
        await process.end(orphaned, STOPS)
    _make_draft(draft, password=state.password(folder), account=account, uid=uid)
    arguments = [
        str(postgres_bin / "initdb"),
        f"--pgdata={draft / 'data'}",
        f"--username={settings.ROLE}",
        f"--pwfile={draft / 'password'}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        # The same order of text on every machine, whatever its locales.
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
    ]
    await process.run(account.command(arguments, uid=uid), folder=draft)
    _finish_draft(draft, home, account)


def _make_draft(draft: Path, *, password: str, account: Account, uid: int) -> None:
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    (draft / "log").mkdir(mode=0o700)
    state.write(draft / "password", password + "\n")
    account.give(draft, uid=uid)


def _finish_draft(draft: Path, home: Path, account: Account) -> None:
    (draft / "password").unlink()
    account.give(draft)
    draft.rename(home)


def recipe(postgres_bin: Path, account: Account, folder: Path, *, port: int) -> process.Recipe:
    """Return how to run the server on that port."""
    data = folder / "postgres" / "data"
    # Readable for the servers' account; there is no secret in them.
    state.write(folder / "postgresql.conf", settings.postgres_conf(port=port, folder=folder), mode=0o644)
    state.write(folder / "pg_hba.conf", settings.pg_hba_conf(), mode=0o644)
    url = settings.database_url(port=port, password=state.password(folder))
    program = [str(postgres_bin / "postgres"), "-D", str(data), "-c", f"config_file={folder / 'postgresql.conf'}"]

    async def answers() -> bool:
        async with _connection(url, _ANSWER_TIMEOUT_S) as connection:
            return connection is not None and await connection.fetchval("SHOW data_directory") == str(data)

    return process.Recipe(
        name="postgres",
        arguments=tuple(account.command(program)),
        folder=data,
        output=folder / "postgres.log",
        stops=STOPS,
        answers=answers,
    )


def forget_pid(data: Path) -> None:
    """
    Remove the pid file of a server that is known to be gone.

    PostgreSQL would not start if its old pid now is any process of the same account, as in a restarted container.
    """
    (data / "postmaster.pid").unlink(missing_ok=True)


async def create_database(url: str) -> None:
    """Create the database of that address if it is not there."""
    async with _connection(url, _CONNECT_TIMEOUT_S) as connection:
        if connection is None:
            raise EmbeddedFailed("PostgreSQL went away just after it had started")
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", settings.DATABASE):
            await connection.execute(f'CREATE DATABASE "{settings.DATABASE}"')


@contextlib.asynccontextmanager
async def _connection(url: str, timeout_s: float) -> AsyncIterator[asyncpg.Connection[asyncpg.Record] | None]:
    """Connect to the database that is always there, or yield None if nobody lets us in."""
    try:
        connection = await asyncpg.connect(url, database="postgres", timeout=timeout_s, ssl=False)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        yield None
        return
    try:
        yield connection
    finally:
        await connection.close(timeout=timeout_s)
