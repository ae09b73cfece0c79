"""Database and Redis of a daemon, to be broken on purpose and mended again."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from tests.chaos.servers import ROLE, TEMPLATE
from tests.pipeline.valkey import Valkey
from tests.proxy import Proxy
from tests.store.wire import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.chaos.servers import Server
    from tests.store.wire import Wire

_TINY_BYTES = 48 << 20
_NOBODY = 65534
_RAISE = """
CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'broken on purpose' USING ERRCODE = '{}'; END $$
"""
_TRIGGER = "CREATE TRIGGER broken BEFORE INSERT OR UPDATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION broken()"


@dataclass
class World:
    """
    What a daemon writes to. `tiny` is the disk of the database, if it has one of its own.

    `database_url` and `redis_url` lead through proxies, `own_url` past them.
    """

    server: Server
    name: str
    to_database: Proxy
    link: Wire
    link_url: str
    valkey: Valkey
    to_redis: Proxy
    tiny: Path | None = None

    @property
    def own_url(self) -> str:
        """Return the address for us."""
        return self.server.url(self.name)

    @property
    def database_url(self) -> str:
        """Return the address for the daemon."""
        return self.server.url(self.name, role=ROLE, port=self.to_database.port)

    @property
    def redis_url(self) -> str:
        """Return the address for the daemon."""
        return f"redis://127.0.0.1:{self.to_redis.port}/0"

    async def execute(self, *statements: str) -> None:
        """Run statements in the daemon's database, as superuser."""
        await self.server.execute(*statements, database=self.name)

    async def end_sessions(self) -> None:
        """End every session of the daemon."""
        await self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")

    async def refuse(self, state: str) -> None:
        """Let each commit fail with this SQLSTATE, from now on."""
        await self.execute(_RAISE.format(state))

    @asynccontextmanager
    async def refusing(self, state: str) -> AsyncIterator[None]:
        """Let each commit fail with this SQLSTATE, or another that `refuse` names."""
        tables = ("batches", "feeds", "journals")
        await self.refuse(state)
        await self.execute(*(_TRIGGER.format(table) for table in tables))
        try:
            yield
        finally:
            await self.execute(*(f"DROP TRIGGER broken ON {table}" for table in tables))

    async def redis(self, *command: str) -> None:
        """Tell Redis something, past the proxy."""
        async with Redis.from_url(self.valkey.url) as client:
            await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no type there


@asynccontextmanager
async def world(server: Server, name: str, *, own_disk: bool = False) -> AsyncIterator[World]:
    """Yield a migrated database, and a Redis."""
    async with contextlib.AsyncExitStack() as stack:
        tiny = stack.enter_context(_small_disk()) if own_disk else None
        await stack.enter_async_context(_database(server, name, tiny))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        valkey = Valkey(folder)
        await valkey.start()
        stack.push_async_callback(valkey.stop)
        link, link_url = await stack.enter_async_context(_linked(server, name, folder))
        yield World(
            server, name, await stack.enter_async_context(Proxy("127.0.0.1", server.port)), link, link_url, valkey,
            await stack.enter_async_context(Proxy("127.0.0.1", valkey.port)), tiny,
        )  # fmt: skip


@asynccontextmanager
async def _linked(server: Server, name: str, folder: Path) -> AsyncIterator[tuple[Wire, str]]:
    """Yield a wire that can be cut at a COMMIT; it expects the usual port in the names of sockets."""
    near, far = folder / "near", folder / "far"
    for each in (near, far):
        each.mkdir()
    (far / ".s.PGSQL.5432").symlink_to(_socket(server))
    async with wire(f"postgresql://{ROLE}@/{name}?host={far}&port=5432", near) as found:
        yield found


def _socket(server: Server) -> str:
    """Return the path of the server's socket."""
    words = server.options.split()
    return f"{words[words.index('-k') + 1]}/.s.PGSQL.{server.port}"


@asynccontextmanager
async def _database(server: Server, name: str, tiny: Path | None) -> AsyncIterator[None]:
    where = ""
    if tiny is not None:
        await server.execute(f"CREATE TABLESPACE tiny LOCATION '{tiny / 'data'}'")
        where = "TABLESPACE tiny"
    # A copy by WAL takes the template's sequences for logged: after a crash they would give out numbers again.
    await server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {ROLE} {where} STRATEGY FILE_COPY")
    try:
        yield
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        if tiny is not None:
            await server.execute("DROP TABLESPACE tiny")


@contextlib.contextmanager
def _small_disk() -> Iterator[Path | None]:
    """Yield a file system of its own; None where this machine lets nobody mount one."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_TINY_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
        if mounted:
            (folder / "data").mkdir()
            shutil.chown(folder / "data", _NOBODY, _NOBODY)
            folder.chmod(0o755)
        yield folder if mounted else None
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
