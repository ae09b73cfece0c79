"""The servers that a daemon writes to: database and Redis, configured or embedded."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from monitor import embedded
from monitor.config import parse_interval, state_dir
from monitor.journal import Journal, JournalLimits
from monitor.pipeline.announce import RedisAnnouncer, connect
from monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from monitor.config import Config

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the database and Redis (None: there is none) are, and what people type to look at them."""

    database_url: str
    redis_url: str | None
    connect_lines: tuple[str, ...] = ()


@contextlib.asynccontextmanager
async def servers_of(config: Config) -> AsyncIterator[Servers]:
    """
    Yield the configured servers; embedded ones run for as long as the context lasts.

    Raises:
        AlreadyRunning: If another daemon uses the state directory.
        ConfigError: If the embedded servers are not installed, or their directory cannot be used.
        EmbeddedFailed: If one does not start.
    """
    if config.database.url is not None:
        if config.redis.url is None:
            log.info("announcements_off", reason="redis.url is not set")
        yield Servers(config.database.url, config.redis.url)
        return
    async with embedded.start(state_dir(config)) as own:
        keeping = asyncio.create_task(own.keep())
        try:
            yield Servers(own.database_url, config.redis.url or own.redis_url, own.connect_lines)
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})


@contextlib.asynccontextmanager
async def store_of(config: Config, servers: Servers, *, migrate: bool, lock: bool = True) -> AsyncIterator[Store]:
    """
    Yield the database, ours to write unless `lock` is False.

    Raises:
        AlreadyRunning: If another daemon writes to it.
        SchemaMismatch: If its schema is not this program's.
        StoreUnavailable: If it does not answer.
    """
    database = config.database
    opened = await Store.open(
        servers.database_url,
        connect_timeout_s=database.connect_timeout_s,
        command_timeout_s=database.command_timeout_s,
        chunk_interval=parse_interval(config.lifecycle.chunk_interval),
    )
    async with opened as store:
        if migrate:
            await store.migrate()
        if lock:
            await store.lock()
        yield store


@contextlib.asynccontextmanager
async def journal_of(config: Config, snapshot: Callable[[], bytes]) -> AsyncIterator[Journal | None]:
    """
    Yield the journal; None: none is kept. It has to be run by whoever uses it, and is closed at the end.

    Raises:
        AlreadyRunning: If another daemon uses it.
        ConfigError: If its folder cannot be used.
        JournalBroken: If the disk fails.
    """
    settings = config.journal
    if not settings.enabled:
        yield None
        return
    limits = JournalLimits(
        max_bytes=settings.max_bytes,
        min_free_bytes=settings.min_free_bytes,
        fsync_interval_s=settings.fsync_interval_s,
    )
    journal = Journal.open(journal_dir(config), limits, snapshot)
    try:
        yield journal
    finally:
        await journal.close()


def journal_dir(config: Config) -> Path:
    """Return the journal's folder."""
    return Path(config.journal.dir) if config.journal.dir else state_dir(config) / "journal"


@contextlib.asynccontextmanager
async def announcer_of(config: Config, servers: Servers) -> AsyncIterator[RedisAnnouncer | None]:
    """Yield what announces in Redis; None: there is no Redis. One that does not answer now may do so later."""
    if servers.redis_url is None:
        yield None
        return
    client = connect(servers.redis_url, config.redis.timeout_s)
    try:
        yield RedisAnnouncer(client, config.announce.stream_max_len)
    finally:
        await client.aclose()
