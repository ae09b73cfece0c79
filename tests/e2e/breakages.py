"""Ways to break the database or the Redis of a daemon, and to mend it again."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from redis.asyncio import Redis

from tests import postgres
from tests.chaos.servers import ROLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.e2e.broken import World


@asynccontextmanager
async def away(world: World) -> AsyncIterator[None]:
    """Nobody listens where the database was."""
    await world.to_database.refuse()
    world.to_database.cut()
    try:
        yield
    finally:
        await world.to_database.accept()


@asynccontextmanager
async def silent(world: World) -> AsyncIterator[None]:
    """Connections to the database stand, and nothing comes."""
    world.to_database.stall()
    try:
        yield
    finally:
        world.to_database.resume()


@asynccontextmanager
async def crashed(world: World) -> AsyncIterator[None]:
    """The database server was killed, and is started again."""
    async with asyncio.TaskGroup() as group:
        is_up = asyncio.Event()
        group.create_task(_restarted(world, is_up))
        try:
            yield
        finally:
            is_up.set()
    await world.server.answers()


async def _restarted(world: World, is_up: asyncio.Event) -> None:
    await asyncio.to_thread(postgres._run, [*world.server.control, "-m", "immediate", "stop"])
    await is_up.wait()
    await asyncio.to_thread(postgres._run, [*world.server.control, "-o", world.server.options, "start"])


@asynccontextmanager
async def read_only(world: World) -> AsyncIterator[None]:
    """Sessions may only read; those that began so stay so."""
    await world.execute(f"ALTER DATABASE {world.name} SET default_transaction_read_only = on")
    await world.end_sessions()
    try:
        yield
    finally:
        await world.server.execute(f"ALTER DATABASE {world.name} RESET default_transaction_read_only")


@asynccontextmanager
async def full_of_connections(world: World) -> AsyncIterator[None]:
    """There is no connection left for the daemon."""
    await world.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    await world.end_sessions()
    try:
        yield
    finally:
        await world.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@asynccontextmanager
async def disk_full(world: World) -> AsyncIterator[None]:
    """There is no byte left on the database's disk; where nobody can mount one, the database says so."""
    if world.tiny is None:
        async with world.refusing("53100"):
            yield
        return
    ballast = world.tiny / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"\1" * 4096):
            pass
    try:
        yield
    finally:
        ballast.unlink()


@asynccontextmanager
async def locked(world: World) -> AsyncIterator[None]:
    """Somebody holds a table."""
    holder = await asyncpg.connect(world.own_url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE tokens")
            yield
    finally:
        await holder.close()


@asynccontextmanager
async def terminated(world: World) -> AsyncIterator[None]:
    """An administrator ended all our sessions."""
    await world.end_sessions()
    yield


@asynccontextmanager
async def commits_cut_before(world: World) -> AsyncIterator[None]:
    """Each COMMIT is lost on its way, and the connection with it."""
    world.link.cut = "before"
    try:
        yield
    finally:
        world.link.cut = None


@asynccontextmanager
async def commits_cut_after(world: World) -> AsyncIterator[None]:
    """Each COMMIT is done, but its answer is lost, and the connection with it."""
    world.link.cut = "after"
    try:
        yield
    finally:
        world.link.cut = None


@asynccontextmanager
async def redis_away(world: World) -> AsyncIterator[None]:
    """Nobody listens where Redis was."""
    await world.to_redis.refuse()
    world.to_redis.cut()
    try:
        yield
    finally:
        await world.to_redis.accept()


@asynccontextmanager
async def redis_silent(world: World) -> AsyncIterator[None]:
    """Redis says nothing."""
    world.to_redis.stall()
    try:
        yield
    finally:
        world.to_redis.resume()


@asynccontextmanager
async def redis_slow(world: World) -> AsyncIterator[None]:
    """Each answer of Redis takes longer than we wait."""
    world.to_redis.throttle(2_000)
    try:
        yield
    finally:
        world.to_redis.throttle(None)


@asynccontextmanager
async def redis_restarted(world: World) -> AsyncIterator[None]:
    """Redis is gone, and comes back with nothing in it."""
    await world.valkey.stop()
    try:
        yield
    finally:
        await world.valkey.start()


@asynccontextmanager
async def redis_flushed(world: World) -> AsyncIterator[None]:
    """Somebody emptied Redis, scripts and all."""
    await world.redis("FLUSHALL")
    await world.redis("SCRIPT", "FLUSH")
    yield


def redis_told(begin: tuple[str, ...], end: tuple[str, ...]) -> Callable[[World], Any]:
    """Return what tells Redis to misbehave, and no longer."""

    @asynccontextmanager
    async def told(world: World) -> AsyncIterator[None]:
        await world.redis(*begin)
        try:
            yield
        finally:
            await world.redis(*end)

    return told


@asynccontextmanager
async def redis_wants_password(world: World) -> AsyncIterator[None]:
    """Redis lets nobody in without a password."""
    await world.redis("CONFIG", "SET", "requirepass", "other")
    world.to_redis.cut()
    try:
        yield
    finally:
        async with Redis.from_url(world.valkey.url, password="other") as client:
            await client.execute_command("CONFIG", "SET", "requirepass", "")  # type: ignore[no-untyped-call]  # as above
